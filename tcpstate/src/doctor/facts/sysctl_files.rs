//! Settings in sysctl files, read in the order of `sysctl --system` and systemd. Wildcards in keys
//! are not supported.
//!
//! If several folders contain a file of one name, only the file in the first of these folders is
//! read. The files are read in the order of their names. If several lines set a key, the last line
//! takes effect. `/etc/sysctl.conf` is read last (sysctl.d(5), sysctl(8)).

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::procfs;

/// The folders that may contain sysctl files. If two folders contain a file of one name, the file
/// in the earlier folder of this list is used.
const FOLDERS: &[&str] =
    &["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d"];

/// A line that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file that contains the line.
    pub file: PathBuf,
    /// The number of the line in its file. The first line has the number 1.
    pub number: usize,
    /// The key, with dots as separators: `net.ipv4.tcp_tw_reuse`.
    pub key: String,
    /// The value.
    pub value: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.number)
    }
}

/// The lines of all sysctl files.
#[derive(Clone, Debug, Default)]
pub struct SysctlFiles {
    /// The lines that set a key, in the order in which `sysctl` applies the lines.
    pub lines: Vec<Line>,
    /// The number of sysctl files that were found, including files that set no key.
    pub files: usize,
    /// The files and lines that could not be read, and the cause for each.
    pub problems: Vec<String>,
}

impl SysctlFiles {
    /// Reads all sysctl files of the system whose root folder is `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut read = Self::default();
        if let Err(error) = fs::read_dir(root) {
            read.problems.push(format!("{}: {error}", root.display()));
        }
        // On most systems /lib is a link to /usr/lib. Only one file of each name is read, so a file
        // that is in both folders is read once.
        let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for folder in FOLDERS {
            let folder = root.join(folder);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    read.problems.push(format!("{}: {error}", folder.display()));
                    continue;
                }
            };
            for name in entries.filter_map(|entry| Some(entry.ok()?.file_name())) {
                if Path::new(&name).extension().is_some_and(|extension| extension == "conf") {
                    by_name.entry(name.clone()).or_insert_with(|| folder.join(name));
                }
            }
        }
        let last = root.join("etc/sysctl.conf");
        // Old Debian versions have a link to /etc/sysctl.conf in sysctl.d. /etc/sysctl.conf must be
        // read only once.
        let real_last = fs::canonicalize(&last).ok();
        let files = by_name.into_values().filter(|file| fs::canonicalize(file).ok() != real_last);
        let files: Vec<PathBuf> = files.chain(real_last.is_some().then_some(last)).collect();
        for file in files {
            read.add(&file);
        }
        read
    }

    fn add(&mut self, file: &Path) {
        self.files += 1;
        match procfs::text(file) {
            Ok(text) => self.parse(file, &text),
            Err(error) => self.problems.push(format!("{}: {error}", file.display())),
        }
    }

    /// Parses `text`, which is the content of `file`, and adds the lines that set a key.
    pub fn parse(&mut self, file: &Path, text: &str) {
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (may_fail, line) =
                line.strip_prefix('-').map_or((false, line), |rest| (true, rest));
            match line.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => self.lines.push(Line {
                    file: file.to_owned(),
                    number,
                    key: dotted(key.trim()),
                    value: value.trim().to_owned(),
                }),
                // A line `-key` has no value: the line excludes the key from wildcards.
                None if may_fail => {}
                _ => self.problems.push(format!("{}:{number}: not an assignment", file.display())),
            }
        }
    }

    /// Returns the line that takes effect for this key.
    #[must_use]
    pub fn effective(&self, key: &str) -> Option<&Line> {
        self.lines.iter().rev().find(|line| line.key == key)
    }
}

/// Returns the key, with dots as separators. If the first separator of a key is a slash, all
/// slashes of the key are separators, and all dots of the key are parts of names.
fn dotted(key: &str) -> String {
    match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'/') => {
            let swap = |c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            key.chars().map(swap).collect()
        }
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &[u8])]) -> (tempfile::TempDir, SysctlFiles) {
        let root = tempfile::tempdir().expect("there is a place for temporary files");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it is ours");
            fs::write(path, text).expect("it is ours");
        }
        let read = SysctlFiles::read(root.path());
        (root, read)
    }

    fn value(files: &SysctlFiles, key: &str) -> Option<String> {
        files.effective(key).map(|line| line.value.clone())
    }

    #[test]
    fn the_last_line_takes_effect_and_file_names_override() {
        let (_root, files) = files(&[
            ("usr/lib/sysctl.d/50-default.conf", b"a.b = 1\na.c = 1\na.d = 1\n"),
            ("etc/sysctl.d/50-default.conf", b"a.b = 2\na.b=3\n"),
            ("run/sysctl.d/10-early.conf", b"a.b = 4\na.e = 4\n"),
            ("etc/sysctl.d/99-no-conf.txt", b"a.b = 5\n"),
            ("etc/sysctl.conf", b"a.e = 6\n"),
        ]);
        assert_eq!(value(&files, "a.b").as_deref(), Some("3"));
        assert_eq!(value(&files, "a.c"), None, "its file is overridden as a whole");
        assert_eq!(value(&files, "a.e").as_deref(), Some("6"));
        assert_eq!(files.files, 3);
        assert!(files.problems.is_empty(), "{:?}", files.problems);
    }

    #[test]
    fn all_forms_of_lines_are_parsed() {
        let (_root, files) = files(&[(
            "etc/sysctl.conf",
            b"# comment\n; another\n\n net/ipv4/tcp_a=1\n-net.ipv4.tcp_b =  2  \n\
              net.ipv4.conf.eth0/1.x = 3\nnet/ipv4/conf/eth0.1/x = 4\n-net.ipv4.excluded\n",
        )]);
        let lines: Vec<_> = files
            .lines
            .iter()
            .map(|line| (line.number, line.key.as_str(), line.value.as_str()))
            .collect();
        let expected = [
            (4, "net.ipv4.tcp_a", "1"),
            (5, "net.ipv4.tcp_b", "2"),
            (6, "net.ipv4.conf.eth0/1.x", "3"),
            (7, "net.ipv4.conf.eth0/1.x", "4"),
        ];
        assert_eq!(lines, expected);
        assert!(files.problems.is_empty(), "{:?}", files.problems);
    }

    #[test]
    fn malformed_lines_are_reported_and_the_other_lines_are_read() {
        let (root, files) = files(&[
            ("etc/sysctl.d/a.conf", b"\xff\xfe\x00garbage\nnet.ipv4.tcp_a = 1\n= 5\n"),
            ("etc/sysctl.d/b.conf/c", b""),
        ]);
        assert_eq!(value(&files, "net.ipv4.tcp_a").as_deref(), Some("1"));
        let folder = root.path().join("etc/sysctl.d");
        let problems = files.problems.join("\n");
        for expected in ["a.conf:1: not an assignment", "a.conf:3: not an assignment", "b.conf: "] {
            assert!(problems.contains(&format!("{}/{expected}", folder.display())), "{problems}");
        }
    }

    #[test]
    fn a_masked_file_sets_nothing() {
        let (root, _) = files(&[
            ("usr/lib/sysctl.d/50-default.conf", b"a.b = 1\n"),
            ("etc/sysctl.d/empty.conf", b""),
        ]);
        let mask = root.path().join("etc/sysctl.d/50-default.conf");
        std::os::unix::fs::symlink("/dev/null", mask).expect("it is ours");
        assert_eq!(value(&SysctlFiles::read(root.path()), "a.b"), None);
    }
}
