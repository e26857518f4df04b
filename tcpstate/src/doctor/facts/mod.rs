//! What the rules go by, read from the kernel: nothing in here judges.
//!
//! ```text
//! /proc/net/{netstat,snmp,sockstat,stat/nf_conntrack}  counters, twice   -> Counters
//! /proc/sys/net                                        sysctls, twice    -> Sysctls
//! /etc/sysctl.conf, sysctl.d/*.conf                    sysctl files      -> SysctlFiles
//! sock_diag                                            each socket once  -> SocketTable -> Holders: /proc/PID
//!
//! a recording, in the place of all that                -> Facts::recorded
//! ```
//!
//! What can't be read is no zero: it is [`Missing`], with the cause and the help, and a rule that needs it says so.

mod ages;
pub mod counters;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod groups;
pub mod holders;
mod recorded;
pub mod sockets;
pub mod sysctl_files;
pub mod sysctls;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use self::{
    ages::Ages,
    counters::{Counters, Growth},
    groups::Groups,
    holders::{Holder, Holding},
    recorded::Recorded,
    sockets::SocketTable,
    sysctl_files::SysctlFiles,
    sysctls::Sysctls,
};
use crate::probe::kernel::Kernel;

/// Something that was seen, or why not.
pub type Known<T> = Result<T, Missing>;

/// What could not be seen, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What, and why.
    pub cause: String,
    /// What the user can do.
    pub help: String,
    /// Where it was looked for.
    pub source: String,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The network files of the caller's namespace.
    pub net: PathBuf,
    /// The sysctls.
    pub sys: PathBuf,
    /// What sysctl files are looked for under: `/`, or where a container has its host's files.
    pub root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            // A thread may be in another namespace than its process.
            net: "/proc/thread-self/net".into(),
            sys: "/proc/sys".into(),
            root: "/".into(),
        }
    }
}

/// All that the rules go by.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The running kernel.
    pub kernel: Kernel,
    /// How far apart the two readings are.
    pub interval: Duration,
    /// The counters at first.
    pub before: Counters,
    /// The counters in the end.
    pub after: Counters,
    /// The settings in force.
    pub sysctls: Sysctls,
    /// What files say that settings should be.
    pub files: Known<SysctlFiles>,
    /// The sockets.
    pub sockets: Known<SocketTable>,
    /// Whether TcpExt's TW and TWKilled count time-wait sockets at their birth; else at their end.
    pub counts_births: bool,
    /// The recording that all of this is from, if it is.
    pub recording: Option<String>,
}

/// The first reading, which waits for the second.
#[derive(Debug)]
pub struct Opening {
    paths: Paths,
    at: Instant,
    counters: Counters,
    sysctls: Sysctls,
}

impl Opening {
    /// Reads counters and sysctls for the first time.
    #[must_use]
    pub fn read(paths: Paths) -> Self {
        let (counters, sysctls) = (Counters::read(&paths), Sysctls::read(&paths));
        Self { at: Instant::now(), counters, sysctls, paths }
    }

    /// Reads them again, and everything else.
    pub fn close(self) -> io::Result<Facts> {
        let after = Counters::read(&self.paths);
        let interval = self.at.elapsed();
        let sysctls = self.sysctls.unless_changed(&Sysctls::read(&self.paths));
        let kernel = Kernel::running()?;
        Ok(Facts {
            counts_births: kernel.counts_time_wait_births(),
            kernel,
            interval,
            before: self.counters,
            after,
            files: Ok(SysctlFiles::read(&self.paths.root)),
            sockets: SocketTable::read(&sysctls),
            sysctls,
            recording: None,
        })
    }
}

impl Facts {
    /// How far a counter went between the two readings.
    pub fn growth(&self, table: &str, name: &str) -> Known<Growth> {
        let (before, total) = (self.before.get(table, name)?, self.after.get(table, name)?);
        let by = total.checked_sub(before).ok_or_else(|| Missing {
            cause: format!("{table} {name} went backwards, from {before} to {total}"),
            help: "run it again: it was reset meanwhile".into(),
            source: counters::file(table),
        })?;
        Ok(Growth { by, total })
    }

    /// A rate, from a number of events between the two readings.
    #[must_use]
    pub fn per_second(&self, events: u64) -> f64 {
        events as f64 / self.interval.as_secs_f64().max(0.001)
    }

    /// The sockets.
    pub fn sockets(&self) -> Known<&SocketTable> {
        self.sockets.as_ref().map_err(Clone::clone)
    }

    /// What files say.
    pub fn files(&self) -> Known<&SysctlFiles> {
        self.files.as_ref().map_err(Clone::clone)
    }
}

/// What to say of a file of the kernel's that can't be read.
fn unreadable(path: &Path, error: &io::Error) -> Missing {
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => "let this user read it, or run it as root",
        io::ErrorKind::NotFound => {
            "mount /proc here; where the namespace does not have the file, look from the host: nsenter -t 1 -n tcpstate doctor"
        }
        _ => "try again",
    };
    Missing {
        cause: format!("read {}: {error}", path.display()),
        help: help.into(),
        source: path.display().to_string(),
    }
}
