//! The errors that can occur when tcpstate reads the list of sockets. Each error has one line for
//! the cause and one line for the help.

use crate::error::Help;
use nix::errno::Errno;
use std::{borrow::Cow, io};

/// The reason why the kernel's list is missing or incomplete. `Display` names the cause, and
/// [`Help::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no `sock_diag`, or the confinement of this process forbids `sock_diag`.
    #[error("cannot ask the kernel for its sockets (netlink, sock_diag): {0}")]
    Unavailable(#[source] io::Error),
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// The system call or action that failed.
        action: &'static str,
        /// The error that the kernel returned.
        source: io::Error,
    },
    /// The kernel refused the request, or reported an error in the middle of the list.
    #[error("cannot list the sockets of the kernel: {0}")]
    Refused(#[source] io::Error),
    /// A message did not fit in the buffer.
    #[error(
        "cannot list the sockets of the kernel: a message has {sent} bytes, and the buffer has {room}"
    )]
    Truncated {
        /// The length of the message in bytes.
        sent: usize,
        /// The length of the buffer in bytes.
        room: usize,
    },
    /// A message has an invalid format.
    #[error("cannot parse the list of sockets: {0}")]
    Malformed(String),
    /// The socket tables of the kernel changed during every attempt, so no list was consistent.
    #[error("cannot list the sockets of the kernel: changes interrupted {0} attempts")]
    Interrupted(u32),
    /// The file that replaces `sock_diag` (`/proc/net/tcp` or `tcp6`) cannot be read.
    #[error("cannot read {file}: {source}")]
    Table {
        /// The path of the file: `/proc/net/tcp` or `tcp6`.
        file: String,
        /// The error that the system call returned.
        source: io::Error,
    },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
                "load the modules as root: modprobe -a inet_diag tcp_diag (CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG)".into()
            }
            Self::Unavailable(_) => {
                "allow netlink sockets for this process (systemd: RestrictAddressFamilies=AF_NETLINK; containers: the seccomp profile)".into()
            }
            Self::System { source, .. } | Self::Refused(source)
                if matches!(source.raw_os_error(), Some(NO_BUFFERS | NO_MEMORY)) =>
            {
                "try again: the kernel had no free memory".into()
            }
            Self::Interrupted(_) => "try again when sockets come and go less often".into(),
            Self::Table { .. } => "mount /proc with the network files of this process".into(),
            _ => "report this error with the output of `uname -r`".into(),
        }
    }
}

impl Error {
    /// Returns whether tcpstate can use another source instead of `sock_diag` after this error.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

const NO_BUFFERS: i32 = Errno::ENOBUFS as i32;
const NO_MEMORY: i32 = Errno::ENOMEM as i32;
