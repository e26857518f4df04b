//! Writes the metrics to a file, for node_exporter's textfile collector and similar collectors.
//!
//! Each text is written to a draft file, and the draft file is then renamed. A program that reads
//! the text file therefore never sees an incomplete text. The file is not synced to disk, because
//! the numbers are useless after a crash of the machine.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A text file that contains the metrics. Each write replaces the file.
#[derive(Debug)]
pub struct Textfile {
    path: PathBuf,
    /// The path of the draft file. The draft is in the folder of the text file, so that a rename
    /// can replace the text file. The name of the draft begins with a dot and ends with `.new`, so
    /// that no collector reads the draft.
    draft: PathBuf,
    /// The number of texts that could not be written.
    errors: u64,
    /// Whether the last write of the file failed.
    is_failing: bool,
    /// Whether any write of the file has succeeded.
    is_written: bool,
}

impl Textfile {
    /// Checks the path without writing a file. The function returns an error if the path cannot be
    /// the path of a file.
    pub fn new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().filter(|_| !path.is_dir());
        let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let mut draft = OsString::from(".");
        draft.push(name);
        draft.push(".new");
        Ok(Self {
            draft: path.with_file_name(draft),
            path: path.to_owned(),
            errors: 0,
            is_failing: false,
            is_written: false,
        })
    }

    /// Returns the number of texts that could not be written so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Replaces the text file. The function counts every failed write. If several consecutive
    /// writes fail, the function returns only the error of the first failed write.
    pub fn write(&mut self, text: &[u8]) -> Option<io::Error> {
        let written = self.try_to_write(text);
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        self.is_written |= written.is_ok();
        let error = written.err()?;
        self.errors += 1;
        // Remove the incomplete draft, because the draft would occupy space on a full disk.
        let _ = fs::remove_file(&self.draft);
        (!was_failing).then_some(error)
    }

    fn try_to_write(&self, text: &[u8]) -> io::Result<()> {
        // Remove the draft of an earlier run that was killed. Opening an existing draft could
        // follow a symbolic link.
        if let Err(error) = fs::remove_file(&self.draft)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut draft: File =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&self.draft)?;
        // The collector runs as another user, so the umask must not restrict the mode.
        draft.set_permissions(Permissions::from_mode(0o644))?;
        draft.write_all(text)?;
        drop(draft);
        fs::rename(&self.draft, &self.path)
    }

    /// Removes the text file if any write of the file has succeeded. If the text file remained
    /// after the run, collectors would continue to report the old numbers.
    pub fn remove(self) {
        if self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_replaces_the_previous_text_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("tcpstate.prom");
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").expect("the folder can be written to");
        let mut textfile = Textfile::new(&path).expect("it is a path of a file");
        std::os::unix::fs::symlink(&victim, &textfile.draft).expect("links can be made");
        for text in ["one\n", "two\n"] {
            assert!(textfile.write(text.as_bytes()).is_none());
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
        }
        assert_eq!(fs::read_to_string(&victim).expect("it is there"), "untouched");
        textfile.remove();
        let left = fs::read_dir(folder.path()).expect("it is a folder").count();
        assert_eq!(left, 1, "the victim alone");
    }

    #[test]
    fn failed_writes_are_all_counted_and_reported_once() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let missing = folder.path().join("missing");
        let mut textfile = Textfile::new(&missing.join("a.prom")).expect("it is a path of a file");
        assert!(textfile.write(b"").is_some(), "reported");
        assert!(textfile.write(b"").is_none(), "reported already");
        fs::create_dir(&missing).expect("folders can be made");
        assert!(textfile.write(b"").is_none(), "it works");
        fs::remove_dir_all(&missing).expect("folders can be removed");
        assert!(textfile.write(b"").is_some(), "reported again");
        assert_eq!(textfile.errors(), 3);
        assert!(Textfile::new(folder.path()).is_err(), "a folder is no file");
    }
}
