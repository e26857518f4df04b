//! Why a recording can't be written or read, and what would help.

use std::{borrow::Cow, io, path::PathBuf};

use super::VERSION;
use crate::error::Help;

/// What keeps a recording from being written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There can be no file of that name, or there is one already.
    #[error("create the recording {}: {error}", .file.display())]
    Create {
        /// Its name.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It can't be written on.
    #[error("write the recording {}: {error}", .file.display())]
    Write {
        /// Its name.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It can't be opened.
    #[error("open the recording {}: {error}", .file.display())]
    Open {
        /// Its name.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is none, or damaged.
    #[error("read the recording {}: {why}", .file.display())]
    Read {
        /// Its name.
        file: PathBuf,
        /// What is wrong with it.
        why: Unreadable,
    },
    /// It is of a command that times nothing.
    #[error("the recording {} has no durations", .file.display())]
    NoDurations {
        /// Its name.
        file: PathBuf,
    },
}

/// What is wrong with the bytes of a recording.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It begins with something else.
    #[error("it is none")]
    NoRecording,
    /// A version that this program does not know.
    #[error("it is of version {found}, and this program reads version {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// The file ends too early.
    #[error("it is cut: the frame at byte {offset} is not whole")]
    Cut {
        /// Where the last frame begins.
        offset: u64,
    },
    /// Bytes are not what was written.
    #[error("it is damaged in the frame at byte {offset}: {what}")]
    Corrupt {
        /// Where the frame begins.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// The file can't be read on.
    #[error("at byte {offset}: {error}")]
    Read {
        /// How far it could be read.
        offset: u64,
        /// What the system says.
        error: io::Error,
    },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Create { error, .. } if error.kind() == io::ErrorKind::AlreadyExists => {
                "give another name: recordings are never overwritten"
            }
            Self::Create { .. } => "name a file in a folder that this user may write to",
            Self::Write { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                "make room on its disk; or keep less: --max-record-size with --max-record-files"
            }
            Self::Write { .. } => "see that its disk can be written to",
            Self::Open { .. } => "name a file that this user may read",
            Self::Read { why, .. } => why.help(),
            Self::NoDurations { .. } => {
                "show it with tcpstate trace --replay; tcpstate hist --record records durations"
            }
        };
        help.into()
    }
}

impl Unreadable {
    /// What the user can do about it.
    fn help(&self) -> &'static str {
        match self {
            Self::NoRecording => "name a file that --record wrote",
            Self::Version { .. } => "read it with the tcpstate that wrote it, or a newer one",
            Self::Cut { .. } | Self::Corrupt { .. } => {
                "none for what is behind it; what was before it has been shown"
            }
            Self::Read { .. } => "see that its disk can be read",
        }
    }
}
