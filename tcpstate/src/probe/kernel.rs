//! The version of the running kernel, and the kernel features that depend on the version.

use nix::sys::utsname;

use crate::procfs::{self, counters::visit_words};

/// A kernel release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The whole text that `uname -r` prints, such as `6.1.0-56-cloud-amd64`.
    pub release: String,
    version: (u32, u32),
    patch: u32,
}

/// The oldest supported kernel. The iterator `iter/tcp` exists since Linux 5.9, but tcpstate is not
/// tested on kernels before 5.10.
pub const OLDEST: (u32, u32) = (5, 10);

/// The first kernel version in which `__bpf_trace_run` prevents a program from interrupting itself.
const RECURSION_GUARD: (u32, u32) = (6, 1);

/// The first kernel version that does not count maps as locked memory.
const MEMORY_CGROUPS: (u32, u32) = (5, 11);

/// The first kernel version that counts skipped runs of programs on classic tracepoints
/// (`trace_call_bpf`).
const MISSES_OF_TRACEPOINTS: (u32, u32) = (6, 12);

/// The first kernel version in which tracing programs may assign a cookie to a socket.
const COOKIES: (u32, u32) = (5, 12);

/// The first kernel version in which programs can get the current task with its type.
const TYPED_TASKS: (u32, u32) = (5, 11);

/// The first kernel version in which an open descriptor of a map is enough to use the map. An
/// earlier kernel also requires `CAP_BPF` if unprivileged BPF is disabled (`__sys_bpf`).
const MAPS_BY_DESCRIPTOR: (u32, u32) = (5, 19);

/// The first kernel version in which the TcpExt counters TW and TWKilled count creations of
/// time-wait sockets. On earlier kernels, the counters TW and TWKilled count expiries of time-wait
/// sockets.
const BIRTHS_COUNTED: (u32, u32) = (5, 18);

impl Kernel {
    /// Returns the running kernel.
    pub fn running() -> std::io::Result<Self> {
        let release = utsname::uname()?.release().to_string_lossy().into_owned();
        Ok(Self::from_release(release))
    }

    /// Returns the [`Kernel`] for a release that `uname -r` prints.
    #[must_use]
    pub fn from_release(release: String) -> Self {
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let patch = numbers.next().unwrap_or(0);
        Self { release, version, patch }
    }

    /// Returns the version from `uname -r`. A distribution may backport a fix to an older version
    /// without changing the version.
    #[must_use]
    pub fn version(&self) -> (u32, u32, u32) {
        (self.version.0, self.version.1, self.patch)
    }

    /// Returns whether the kernel has this version or a newer version.
    #[must_use]
    pub fn is_at_least(&self, version: (u32, u32)) -> bool {
        self.version >= version
    }

    /// Returns whether the kernel is older than the oldest supported kernel.
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        self.version < OLDEST
    }

    /// Returns whether a tracing program can interrupt an earlier run of itself on one CPU. A
    /// program that can interrupt itself needs atomic additions. The function also returns true on
    /// older kernels to which a vendor has backported the recursion guard. On such vendor kernels,
    /// atomic additions are unnecessary and only cost time.
    #[must_use]
    pub fn programs_interrupt_themselves(&self) -> bool {
        self.version < RECURSION_GUARD
    }

    /// Returns whether tracing programs may assign a cookie to a socket (`bpf_get_socket_cookie`).
    #[must_use]
    pub fn gives_cookies(&self) -> bool {
        self.version >= COOKIES
    }

    /// Returns whether programs can get the current task with its type
    /// (`bpf_get_current_task_btf`).
    #[must_use]
    pub fn has_typed_tasks(&self) -> bool {
        self.version >= TYPED_TASKS
    }

    /// Returns whether `RLIMIT_MEMLOCK` limits the memory of BPF maps.
    #[must_use]
    pub fn locks_memory_for_maps(&self) -> bool {
        self.version < MEMORY_CGROUPS
    }

    /// Returns whether each read or write of a map needs `CAP_BPF`.
    #[must_use]
    pub fn guards_each_bpf_call(&self) -> bool {
        self.version < MAPS_BY_DESCRIPTOR
    }

    /// Returns whether the kernel counts skipped runs of programs on classic tracepoints.
    #[must_use]
    pub fn counts_misses_of_tracepoints(&self) -> bool {
        self.version >= MISSES_OF_TRACEPOINTS
    }

    /// Returns whether the kernel's counters count creations of time-wait sockets
    /// (`__inet_twsk_schedule`).
    #[must_use]
    pub fn counts_time_wait_births(&self) -> bool {
        self.version >= BIRTHS_COUNTED
    }
}

/// Returns the number of TCP sockets in the caller's network namespace, including time-wait
/// sockets. The number is read from `/proc/net/sockstat` and `sockstat6`. The number is not exact,
/// but sufficient for choosing the size of a map.
#[must_use]
pub fn hashed_sockets() -> u64 {
    let files = ["sockstat", "sockstat6"].into_iter().filter_map(|file| procfs::net(file).ok());
    files.map(|text| sockets_in_use(&text)).fold(0, u64::saturating_add)
}

pub(super) fn sockets_in_use(sockstat: &str) -> u64 {
    let mut sockets = 0_u64;
    let outcome = visit_words(sockstat, |table, name, number| {
        if matches!((table, name), ("TCP" | "TCP6", "inuse" | "tw")) {
            sockets = sockets.saturating_add(number);
        }
    });
    outcome.map_or(0, |()| sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        for (release, too_old, atomic) in [
            ("5.4.0-150-generic", true, true),
            ("5.10.0-46-cloud-amd64", false, true),
            ("5.15.0", false, true),
            ("6.1.0-56-cloud-amd64", false, false),
            ("6.12.117+deb13-cloud-amd64", false, false),
            ("7.3.4", false, false),
        ] {
            let kernel = Kernel::from_release(release.into());
            assert_eq!(kernel.is_too_old(), too_old, "{release}");
            assert_eq!(kernel.programs_interrupt_themselves(), atomic, "{release}");
        }
    }

    #[test]
    fn sockets_in_use_are_found_in_both_files() {
        let v4 =
            "sockets: used 294\nTCP: inuse 28 orphan 0 tw 3 alloc 31 mem 2\nUDP: inuse 5 mem 3\n";
        assert_eq!(sockets_in_use(v4), 31);
        assert_eq!(sockets_in_use("TCP6: inuse 7\nUDP6: inuse 2\n"), 7);
        assert_eq!(sockets_in_use("UDP: inuse 5\n"), 0);
    }
}
