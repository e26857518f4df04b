//! The errors of starting a program.

use std::{borrow::Cow, ffi::OsStr, io};

use crate::{
    error::{Help, MORE_PROCESSES},
    text::escaped,
};

/// An error of starting a program. The text in each variant is the program as typed.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum Error {
    /// The program cannot be executed.
    #[error("cannot start {0}: {1}")]
    Execute(String, io::Error),
    /// No process could be created.
    #[error("cannot start a process for {0}: {1}")]
    Fork(String, io::Error),
    /// Snapshots without processes were requested.
    #[error("cannot use --only-it with snapshots: a snapshot counts all sockets")]
    Snapshots,
    /// The id of the child is not known.
    #[error(
        "cannot use --only-it: /proc does not show the PID namespace of tcpstate, so the ids are unknown"
    )]
    NoPids,
    /// The child cannot change to its user.
    #[error("cannot start {0}: cannot change to its user: {1}")]
    User(String, io::Error),
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::Execute(_, error) => match error.kind() {
                io::ErrorKind::NotFound => {
                    "check the name of the program, and the interpreter in the first line of a script; without a slash, the program must be in a directory of PATH"
                }
                io::ErrorKind::PermissionDenied => {
                    "check that the user of the program may execute it (chmod +x), or choose another user with --user"
                }
                _ => "check that the program starts without tcpstate",
            },
            Self::Snapshots => "add --events for lines, or --by process for groups",
            Self::NoPids => {
                "mount /proc for this PID namespace (mount -t proc proc /proc), or use --comm"
            }
            Self::Fork(..) => MORE_PROCESSES,
            Self::User(..) => "run tcpstate as root (sudo tcpstate ...), or leave out --user",
        }
        .into()
    }
}

pub(super) fn cannot_start(name: &OsStr, error: io::Error) -> Error {
    Error::Execute(as_typed(name), error)
}

/// Returns a program as typed, without control characters.
pub(super) fn as_typed(name: &OsStr) -> String {
    escaped(name)
}
