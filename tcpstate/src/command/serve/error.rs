//! What `serve` can't be asked for, or can't have.

use std::{borrow::Cow, fmt, io, net::SocketAddr, path::PathBuf};

use crate::{error::Help, text::escaped};

/// What can't be had together, or not here.
#[derive(Debug)]
pub(in crate::command) enum Error {
    /// Nobody would ever see a number.
    NothingToDo,
    /// `--by netns` with one namespace.
    OneNamespace,
    /// The address can't be had.
    Listen(SocketAddr, io::Error),
    /// The file can't be one.
    Textfile(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToDo if cfg!(feature = "otlp") => {
                f.write_str("--listen off without --textfile or --otlp leaves nothing to do")
            }
            Self::NothingToDo => {
                f.write_str("--listen off without --textfile leaves nothing to do")
            }
            Self::OneNamespace => {
                f.write_str("--by netns counts all network namespaces, and --netns asks for one")
            }
            Self::Listen(address, error) => write!(f, "listen on {address}: {error}"),
            Self::Textfile(path, error) => {
                write!(f, "write to {}: {error}", escaped(path.as_os_str()))
            }
        }
    }
}

impl std::error::Error for Error {}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::NothingToDo if cfg!(feature = "otlp") => {
                "give it an address, name a file, or push with --otlp"
            }
            Self::NothingToDo => "give it an address, or name a file",
            Self::OneNamespace => "leave out one of them",
            Self::Listen(_, error) => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "end what listens there (ss -ltnp shows it), or choose another port"
                }
                io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
                _ => "choose an address of this host",
            },
            Self::Textfile(..) => "name a file in a folder that this user may write to",
        };
        help.into()
    }
}
