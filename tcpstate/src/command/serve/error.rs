//! The errors of `serve`.

use std::{borrow::Cow, fmt, io, net::SocketAddr, path::PathBuf};

use crate::{error::Help, text::escaped};

/// An error of `serve`: flags that cannot be combined, or an output that is not available.
#[derive(Debug)]
pub(in crate::command) enum Error {
    /// No output is enabled: neither the endpoint, nor the textfile, nor the push to a receiver.
    NothingToDo,
    /// `--by netns` was given with one network namespace.
    OneNamespace,
    /// Listening on the address failed.
    Listen(SocketAddr, io::Error),
    /// The textfile cannot be written.
    Textfile(PathBuf, io::Error),
    /// The process cannot change to the user of `--user`.
    User(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToDo if cfg!(feature = "otlp") => f.write_str(
                "cannot serve metrics: --listen off without --textfile or --otlp leaves no output",
            ),
            Self::NothingToDo => f.write_str(
                "cannot serve metrics: --listen off without --textfile leaves no output",
            ),
            Self::OneNamespace => f.write_str(
                "cannot use --by netns with --netns: --by netns counts all network namespaces",
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::User(error) => write!(f, "cannot change to the user of --user: {error}"),
            Self::Textfile(path, error) => {
                write!(f, "cannot write to {}: {error}", escaped(path.as_os_str()))
            }
        }
    }
}

impl std::error::Error for Error {}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::NothingToDo if cfg!(feature = "otlp") => {
                "choose an address with --listen, a file with --textfile, or a receiver with --otlp"
            }
            Self::NothingToDo => "choose an address with --listen, or a file with --textfile",
            Self::OneNamespace => "leave out --by netns or --netns",
            Self::Listen(_, error) => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "choose another port, or stop the program that listens there (ss -ltnp)"
                }
                io::ErrorKind::PermissionDenied => "choose a port from 1024 to 65535",
                _ => "choose an address of this host",
            },
            Self::User(_) => "run tcpstate as root (sudo tcpstate ...), or leave out --user",
            Self::Textfile(..) => "choose an existing folder that this user may write to",
        };
        help.into()
    }
}
