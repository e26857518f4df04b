//! The errors of writing and reading recordings, and a help line for each error.

use std::{borrow::Cow, fmt, io, path::PathBuf};

use super::VERSION;
use crate::error::{Help, MORE_PROCESSES};

/// The reason why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be created. A possible cause is that the file exists already.
    #[error("cannot create the recording {}: {error}", .file.display())]
    Create {
        /// The name of the file.
        file: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The recording would continue in a file that exists already.
    #[error("cannot create the recording {}: {} exists already", .file.display(), .left_over.display())]
    LeftOver {
        /// The name of the recording.
        file: PathBuf,
        /// The name of the file that exists already.
        left_over: PathBuf,
    },
    /// The recording cannot continue in the next file.
    #[error("cannot continue the recording in {}: {error}", .file.display())]
    Continue {
        /// The name of the next file.
        file: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// Another program changed the file during the recording.
    #[error("cannot continue the recording {}: another program {change} it", .file.display())]
    Changed {
        /// The name of the file.
        file: PathBuf,
        /// What the other program did: `deleted` or `truncated`.
        change: &'static str,
    },
    /// The recording ended before the end of the run.
    #[error("cannot complete the recording {}: it ended before the run", .file.display())]
    Ended {
        /// The name of the file.
        file: PathBuf,
    },
    /// Writing to the file fails.
    #[error("cannot write the recording {}: {error}", .file.display())]
    Write {
        /// The name of the file.
        file: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file cannot be opened.
    #[error("cannot open the recording {}: {error}", .file.display())]
    Open {
        /// The name of the file.
        file: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file cannot be read, is damaged or is not a recording.
    #[error("cannot read the recording {}: {why}", .file.display())]
    Read {
        /// The name of the file.
        file: PathBuf,
        /// The reason why the file cannot be read.
        why: Unreadable,
    },
    /// The recording has no durations, because the command that wrote the recording recorded no
    /// durations.
    #[error("cannot show histograms of the recording {}: it has no durations", .file.display())]
    NoDurations {
        /// The name of the file.
        file: PathBuf,
    },
}

/// The reason why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file does not begin with the heading of a recording.
    #[error("it is not a recording")]
    NoRecording,
    /// This program cannot read the version of the recording.
    #[error("it has version {found}, and this program reads version {VERSION}")]
    Version {
        /// The version of the recording.
        found: u16,
    },
    /// The file ends inside a frame.
    #[error("it ends within the frame at byte {offset}")]
    Cut {
        /// The offset in bytes of the incomplete frame.
        offset: u64,
    },
    /// The bytes in the file differ from the bytes that were written.
    #[error("the frame at byte {offset} is damaged: {what}")]
    Corrupt {
        /// The offset in bytes of the frame.
        offset: u64,
        /// The part of the frame that is damaged.
        what: String,
    },
    /// A record needs more memory than the user allows.
    #[error("the frame at byte {offset} needs more than {} of memory", Size(*.max))]
    Memory {
        /// The offset in bytes of the frame.
        offset: u64,
        /// The maximum memory in bytes.
        max: u64,
    },
    /// A frame contains more data than a file of this size may contain.
    #[error("the frame at byte {offset} expands to more than {}", Size(*.max))]
    Large {
        /// The offset in bytes of the frame.
        offset: u64,
        /// The maximum size in bytes of the frame's records.
        max: u64,
    },
    /// Reading the file fails.
    #[error("at byte {offset}: {error}")]
    Read {
        /// The offset in bytes up to which the file could be read.
        offset: u64,
        /// The error of the system.
        error: io::Error,
    },
}

/// Formats a size in bytes with the largest unit that has no fraction.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            size if size >= 1 << 20 && size % (1 << 20) == 0 => write!(f, "{} MiB", size >> 20),
            size => write!(f, "{size} bytes"),
        }
    }
}

impl Error {
    /// Converts the error of a new recording to the error of a recording that continues.
    pub(super) fn of_continuation(self) -> Self {
        match self {
            Self::Create { file, error } => Self::Continue { file, error },
            error => error,
        }
    }
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Create { error, .. } if error.kind() == io::ErrorKind::AlreadyExists => {
                "choose another name: recordings are never overwritten"
            }
            Self::Create { error, .. } if error.kind() == io::ErrorKind::WouldBlock => {
                MORE_PROCESSES
            }
            Self::Create { .. } => "choose an existing folder that this user may write to",
            Self::LeftOver { .. } => {
                "choose another name, or remove the files of the older recording"
            }
            Self::Continue { .. } => {
                "free space or remove the file, and record again; this recording is complete up to now"
            }
            Self::Changed { .. } => "keep other programs away from the recording, and record again",
            Self::Ended { .. } => "remove the cause that was reported before, and record again",
            Self::Write { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                "free space on the disk of the recording, or keep less data with --max-record-size and --max-record-files"
            }
            Self::Write { .. } => "check that the disk of the recording is writable",
            Self::Open { .. } => "choose an existing file that this user may read",
            Self::Read { why, .. } => why.help(),
            Self::NoDurations { .. } => {
                "use tcpstate trace --replay; only tcpstate hist --record records durations"
            }
        };
        help.into()
    }
}

impl Unreadable {
    /// Returns the help line for this reason.
    fn help(&self) -> &'static str {
        match self {
            Self::NoRecording => "choose a file that --record wrote",
            Self::Version { .. } => "use the tcpstate that wrote it, or a newer one",
            Self::Cut { .. } | Self::Corrupt { .. } => {
                "use the output, which is complete up to the damage"
            }
            Self::Memory { .. } | Self::Large { .. } => {
                "use the output before this frame; if you trust the file, increase --max-replay-memory"
            }
            Self::Read { .. } => "check that its disk can be read",
        }
    }
}
