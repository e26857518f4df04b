//! The data for the rules, read from the kernel. The module `facts` only reads data, and the module
//! `rules` decides whether the data show a problem.
//!
//! ```text
//! /proc/net/{netstat,snmp,sockstat,stat/nf_conntrack}  counters, twice   -> Counters
//! /proc/sys/net                                        sysctls, twice    -> Sysctls
//! /etc/sysctl.conf, sysctl.d/*.conf                    sysctl files      -> SysctlFiles
//! sock_diag                                            sockets, once     -> SocketTable
//! /proc/PID                                            owners of sockets -> Holders
//!
//! a recording, instead of all these sources            -> Facts::recorded
//! ```
//!
//! Data that cannot be read are never reported as zero. [`Missing`] replaces such data and contains
//! a cause and a help text. A rule that needs the data reports that the data are missing.

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
pub use crate::source::owners::Sight;

/// A value that was read, or the reason why the value could not be read.
pub type Known<T> = Result<T, Missing>;

/// Data that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Names the missing data and says why the data could not be read.
    pub cause: String,
    /// The advice that the user reads.
    pub help: String,
    /// The kernel file or interface from which the data should have been read.
    pub source: String,
}

/// The folders in which the files with the facts are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The folder of /proc that has the counters of the caller's network namespace.
    pub net: PathBuf,
    /// The folder of the sysctls, `/proc/sys`.
    pub sys: PathBuf,
    /// The root folder of the sysctl files: `/`, or the folder of a container in which the files of
    /// the host are mounted.
    pub root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            // The calling thread and its process may be in different network namespaces.
            net: "/proc/thread-self/net".into(),
            sys: "/proc/sys".into(),
            root: "/".into(),
        }
    }
}

/// All data for the rules.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The running kernel.
    pub kernel: Kernel,
    /// The time between the first and the second reading of the counters.
    pub interval: Duration,
    /// The counters of the first reading.
    pub before: Counters,
    /// The counters of the second reading.
    pub after: Counters,
    /// The current values of the sysctls.
    pub sysctls: Sysctls,
    /// The settings in sysctl files.
    pub files: Known<SysctlFiles>,
    /// The sockets.
    pub sockets: Known<SocketTable>,
    /// Whether the counters TcpExt TW and TWKilled grow when a time-wait socket is created. If
    /// false, these counters grow when a time-wait socket is destroyed.
    pub counts_births: bool,
    /// The name of the recording, or `None` if the data are not from a recording.
    pub recording: Option<String>,
}

/// The counters and sysctls of the first reading.
#[derive(Debug)]
pub struct Opening {
    paths: Paths,
    at: Instant,
    counters: Counters,
    sysctls: Sysctls,
}

impl Opening {
    /// Reads the counters and sysctls for the first time.
    #[must_use]
    pub fn read(paths: Paths) -> Self {
        let (counters, sysctls) = (Counters::read(&paths), Sysctls::read(&paths));
        Self { at: Instant::now(), counters, sysctls, paths }
    }

    /// Reads the counters and sysctls for the second time, and reads all other data once.
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
    /// Returns the growth of a counter between the two readings.
    pub fn growth(&self, table: &str, name: &str) -> Known<Growth> {
        let (before, total) = (self.before.get(table, name)?, self.after.get(table, name)?);
        let by = total.checked_sub(before).ok_or_else(|| Missing {
            cause: format!("{table} {name} decreased from {before} to {total}"),
            help: "Run doctor again: the counter was reset during this check.".into(),
            source: counters::file(table),
        })?;
        Ok(Growth { by, total })
    }

    /// Returns the number of events per second. `events` is the number of events between the two
    /// readings.
    #[must_use]
    pub fn per_second(&self, events: u64) -> f64 {
        events as f64 / self.interval.as_secs_f64().max(0.001)
    }

    /// The sockets.
    pub fn sockets(&self) -> Known<&SocketTable> {
        self.sockets.as_ref().map_err(Clone::clone)
    }

    /// The settings in sysctl files.
    pub fn files(&self) -> Known<&SysctlFiles> {
        self.files.as_ref().map_err(Clone::clone)
    }
}

/// Returns the cause and the advice for a kernel file that cannot be read.
fn unreadable(path: &Path, error: &io::Error) -> Missing {
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => "Let this user read the file, or run doctor as root.",
        io::ErrorKind::NotFound => {
            "Mount /proc here. If the network namespace does not have the file, run doctor on the \
             host: nsenter -t 1 -n tcpstate doctor"
        }
        _ => "Run doctor again.",
    };
    Missing {
        cause: format!("cannot read {}: {error}", path.display()),
        help: help.into(),
        source: path.display().to_string(),
    }
}
