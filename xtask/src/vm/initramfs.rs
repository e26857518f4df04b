//! Writes the archive from which a guest boots. The archive contains the first process, kernel
//! modules, test programs and a plan.
//!
//! Besides these files, a guest contains only `ss`, the libraries of `ss`, and files that tests
//! read. The guest has no shell. `tests/src/bin/vm_init.rs` reads the plan. The plan has one step
//! per line, and tabs separate the words of a step:
//!
//! ```text
//! module  PATH                 load a module
//! write   PATH TEXT            write to a file of the kernel
//! set     NAME VALUE           set a variable for the programs
//! run     NAME FOLDER PATH ARGUMENT...
//! ```

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result};
use cpio::newc::{self, Builder, ModeFileType};

use super::{modules::Module, programs::Programs};

/// The path of the plan's file in the guest.
const PLAN: &str = "plan";
/// The environment variable with the path of the program `tcpstate` in the guest.
const PROGRAM: &str = "TCPSTATE_TEST_PROGRAM";
/// The environment variable that tells the tests that the machine is emulated and slow.
const EMULATED: &str = "TCPSTATE_TEST_EMULATED";

/// The steps that a guest executes after the boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) modules: &'a [Module],
    pub(crate) programs: &'a Programs,
    /// The arguments of every test program.
    pub(crate) arguments: &'a [String],
    /// Texts that the guest writes to files in /proc or /sys before the first test program runs.
    pub(crate) writes: &'a [Write],
}

/// A text that the guest writes to a file in /proc or /sys. The command-line option `--write` has
/// the value `PATH=TEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    path: String,
    text: String,
}

impl FromStr for Write {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let (path, text) = word.split_once('=').ok_or("expected PATH=TEXT")?;
        Ok(Self { path: path.into(), text: text.into() })
    }
}

impl Plan<'_> {
    /// Returns the bytes of the archive.
    pub(crate) fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        // Add the console device. The first process writes errors to the console before /dev is
        // mounted.
        archive.console()?;
        archive.folder("tmp")?;
        archive.file("init", 0o755, &read(&self.programs.init)?)?;
        let mut lines = Vec::new();
        for Module { name, bytes } in self.modules {
            let path = format!("modules/{name}.ko");
            archive.file(&path, 0o644, bytes)?;
            lines.push(format!("module\t/{path}"));
        }
        // Store these files under the paths that they have on this machine, because the tests were
        // compiled with these paths.
        for path in &self.programs.files {
            archive.file(&path.to_string_lossy(), 0o644, &read(path)?)?;
        }
        for path in self.programs.tools.iter().chain([&self.programs.tcpstate]) {
            archive.file(&path.to_string_lossy(), 0o755, &read(path)?)?;
        }
        lines.extend(
            self.writes.iter().map(|Write { path, text }| format!("write\t{path}\t{text}")),
        );
        let folder = self.programs.folder.display();
        archive.folder(&self.programs.folder.to_string_lossy())?;
        lines.push(format!("set\tCARGO_MANIFEST_DIR\t{folder}"));
        lines.push("set\tRUST_BACKTRACE\t1".to_owned());
        // Tell the tests that the guest is emulated. In an emulated guest, some tests would take
        // hours, and measurements are useless.
        lines.push(format!("set\t{EMULATED}\t1"));
        lines.push(format!("set\t{PROGRAM}\t{}", self.programs.tcpstate.display()));
        for (name, path) in &self.programs.tests {
            let guest = format!("tests/{name}");
            archive.file(&guest, 0o755, &read(path)?)?;
            let arguments = self.arguments.iter().map(|argument| format!("\t{argument}"));
            lines.push(format!("run\t{name}\t{folder}\t/{guest}{}", arguments.collect::<String>()));
        }
        archive.file(PLAN, 0o644, (lines.join("\n") + "\n").as_bytes())?;
        archive.finish()
    }
}

/// An archive that is being written.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    entries: u32,
}

impl Archive {
    /// Writes the missing parent directories of a file, and then the file.
    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        if let Some(folder) = Path::new(path).parent() {
            self.folder(&folder.to_string_lossy())?;
        }
        let entry = self.entry(path).mode(mode).set_mode_file_type(ModeFileType::Regular);
        self.write(entry, path, bytes)
    }

    /// Writes a directory and its parent directories, unless the archive already contains these
    /// directories.
    fn folder(&mut self, path: &str) -> Result<()> {
        let path = Path::new(path.trim_start_matches('/'));
        let ancestors: Vec<&Path> =
            path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for folder in ancestors.into_iter().rev() {
            if self.folders.insert(folder.to_owned()) {
                let name = folder.to_string_lossy();
                let entry =
                    self.entry(&name).mode(0o755).set_mode_file_type(ModeFileType::Directory);
                self.write(entry, &name, &[])?;
            }
        }
        Ok(())
    }

    fn console(&mut self) -> Result<()> {
        const PATH: &str = "dev/console";
        self.folder("dev")?;
        let entry = self.entry(PATH).mode(0o600).set_mode_file_type(ModeFileType::Char);
        self.write(entry.rdev_major(5).rdev_minor(1), PATH, &[])
    }

    fn entry(&mut self, path: &str) -> Builder {
        self.entries += 1;
        // Give each entry its own inode number, because the kernel treats two names with one inode
        // number as hard links.
        Builder::new(path.trim_start_matches('/')).ino(self.entries).nlink(1)
    }

    fn write(&mut self, entry: Builder, path: &str, bytes: &[u8]) -> Result<()> {
        let size = u32::try_from(bytes.len()).with_context(|| format!("{path} is too large"))?;
        let mut writer = entry.write(&mut self.bytes, size);
        writer.write_all(bytes).context("write to memory")?;
        writer.finish().context("write to memory").map(drop)
    }

    fn finish(self) -> Result<Vec<u8>> {
        newc::trailer(self.bytes).context("write to memory")
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    /// Returns the path, the mode and the content of each entry.
    fn entries(archive: Vec<u8>) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut rest = Cursor::new(archive);
        loop {
            let mut reader = newc::Reader::new(rest).expect("an archive");
            if reader.entry().is_trailer() {
                return entries;
            }
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("the entry is whole");
            entries.push((reader.entry().name().to_owned(), reader.entry().mode(), bytes));
            rest = reader.finish().expect("the archive goes on");
        }
    }

    #[test]
    fn folders_come_once_and_before_their_files() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", 0o755, b"12345").expect("memory");
        archive.file("a/two", 0o644, b"").expect("memory");
        let expected = [
            ("a", 0o040_755, ""),
            ("a/b", 0o040_755, ""),
            ("a/b/one", 0o100_755, "12345"),
            ("a/two", 0o100_644, ""),
        ]
        .map(|(path, mode, text)| (path.to_owned(), mode, text.as_bytes().to_vec()));
        assert_eq!(entries(archive.finish().expect("memory")), expected);
    }

    #[test]
    fn the_console_is_a_device() {
        let mut archive = Archive::default();
        archive.console().expect("memory");
        let bytes = archive.finish().expect("memory");
        let last = entries(bytes).pop().expect("an entry");
        assert_eq!((last.0.as_str(), last.1), ("dev/console", 0o020_600));
    }
}
