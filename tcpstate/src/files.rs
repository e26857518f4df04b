//! Opens files that other users may control. A FIFO, a device or a socket instead of a file must
//! not block tcpstate, because a blocked process ignores the signals that end a run.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// The maximum size in bytes of a small file, such as a file of thresholds or of sysctls.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Opens a regular file for reading.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_kind(path, FileType::is_file)
}

/// Opens a regular file or a pipe for reading. A shell passes the output of a command as a pipe.
/// The function does not wait for a process that writes to the pipe, but reads from the pipe may
/// wait.
pub(crate) fn open_or_pipe(path: &Path) -> io::Result<File> {
    let file = open_kind(path, |kind| kind.is_file() || kind.is_fifo())?;
    if file.metadata()?.file_type().is_fifo() {
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    }
    Ok(file)
}

/// Reads a small regular file as text.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Reads a small regular file.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    Ok(bytes)
}

fn open_kind(path: &Path, is_allowed: impl Fn(&FileType) -> bool) -> io::Result<File> {
    // Opening a device can have an effect, so the kind is checked before the file is opened. The
    // kind is checked again because another process may replace the file in between.
    check(fs::metadata(path)?.file_type(), &is_allowed)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check(file.metadata()?.file_type(), &is_allowed)?;
    Ok(file)
}

fn check(kind: FileType, is_allowed: impl Fn(&FileType) -> bool) -> io::Result<()> {
    if is_allowed(&kind) {
        return Ok(());
    }
    let name = match kind {
        kind if kind.is_dir() => "folder",
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    };
    let cause = format!("it is a {name}, not a file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, cause))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixListener, thread};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn other_kinds_of_files_are_refused_without_waiting() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        mkfifo(&path("pipe"), Mode::S_IRWXU).expect("the test owns the folder");
        let _socket = UnixListener::bind(path("socket")).expect("the test owns the folder");
        std::os::unix::fs::symlink(path("pipe"), path("link")).expect("links can be made");
        for (file, cause) in [
            (path("pipe"), "it is a pipe, not a file"),
            (path("link"), "it is a pipe, not a file"),
            (path("socket"), "it is a socket, not a file"),
            (folder.path().to_owned(), "it is a folder, not a file"),
            ("/dev/zero".into(), "it is a device, not a file"),
        ] {
            let error = open(&file).expect_err("it is not a regular file");
            assert_eq!(error.to_string(), cause);
            assert_eq!(text(&file).expect_err("it is not a regular file").to_string(), cause);
        }
        // A pipe without a writer is at its end.
        let mut pipe = open_or_pipe(&path("pipe")).expect("it is a pipe");
        assert_eq!(pipe.read(&mut [0; 8]).expect("it has no writer"), 0);
    }

    #[test]
    fn pipes_and_files_are_read() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        fs::write(&file, "text").expect("the test owns the folder");
        assert_eq!(text(&file).expect("it is a file"), "text");
        mkfifo(&pipe, Mode::S_IRWXU).expect("the test owns the folder");
        let mut reader = open_or_pipe(&pipe).expect("it is a pipe");
        let mut writer = OpenOptions::new().write(true).open(&pipe).expect("the pipe has a reader");
        let writing =
            thread::spawn(move || writer.write_all(b"later").expect("the pipe has a reader"));
        let mut read = String::new();
        reader.read_to_string(&mut read).expect("the writer writes text");
        assert_eq!(read, "later");
        writing.join().expect("the writer succeeds");
    }

    #[test]
    fn large_files_are_refused() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        file.as_file().set_len(MAX_TEXT_BYTES).expect("the test owns the file");
        assert!(bytes(file.path()).is_ok());
        file.as_file().set_len(MAX_TEXT_BYTES + 1).expect("the test owns the file");
        let error = bytes(file.path()).expect_err("the file is too large");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
