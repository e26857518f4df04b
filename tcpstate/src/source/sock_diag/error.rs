//! Why the sockets could not be counted: the cause in one line, the help in another.

use crate::error::Help;
use nix::errno::Errno;
use std::{borrow::Cow, io};

/// What kept the kernel's answer from being whole. `Display` names the cause; [`Help::help`] what helps.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers: this kernel, or this process's confinement, has no `sock_diag`.
    #[error("ask the kernel for its sockets (netlink, sock_diag): {0}")]
    Unavailable(#[source] io::Error),
    /// A system call failed.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused the request, or gave up halfway.
    #[error("the kernel broke off its list of sockets: {0}")]
    Refused(#[source] io::Error),
    /// A message did not fit.
    #[error(
        "the kernel's list of sockets is truncated: a message of {sent} bytes, room for {room}"
    )]
    Truncated {
        /// The message's length.
        sent: usize,
        /// The buffer's.
        room: usize,
    },
    /// A message is not as the kernel writes them.
    #[error("the kernel's list of sockets can't be read: {0}")]
    Malformed(String),
    /// Each attempt met a change of the tables that made its list inconsistent.
    #[error("the kernel's list of sockets was interrupted by changes, {0} times in a row")]
    Interrupted(u32),
    /// The table that serves instead of `sock_diag` can't be read.
    #[error("read {file}: {source}")]
    Table {
        /// Its path.
        file: String,
        /// What is wrong.
        source: io::Error,
    },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
                "as root: modprobe -a inet_diag tcp_diag (CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG)".into()
            }
            Self::Unavailable(_) => {
                "let this process open netlink sockets (systemd: RestrictAddressFamilies=AF_NETLINK; containers: the seccomp profile)".into()
            }
            Self::System { source, .. } | Self::Refused(source)
                if matches!(source.raw_os_error(), Some(NO_BUFFERS | NO_MEMORY)) =>
            {
                "try again; the kernel had no memory for it".into()
            }
            Self::Interrupted(_) => "try again when sockets come and go less often".into(),
            Self::Table { .. } => "mount /proc, with the network files of this process visible".into(),
            _ => "report it with the output of `uname -r`".into(),
        }
    }
}

impl Error {
    /// Whether somebody else may be asked instead.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

const NO_BUFFERS: i32 = Errno::ENOBUFS as i32;
const NO_MEMORY: i32 = Errno::ENOMEM as i32;
