//! The running kernel: its version, and what follows from it.

use nix::sys::utsname;

use crate::procfs::{self, counters::visit_words};

/// A kernel release, as `uname -r` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The whole string: `6.1.0-56-cloud-amd64`.
    pub release: String,
    version: (u32, u32),
    patch: u32,
}

/// The oldest kernel that has all that the counting needs (`iter/tcp` came with 5.9; nothing before 5.10 is tested).
pub const OLDEST: (u32, u32) = (5, 10);

/// `__bpf_trace_run` lets no program interrupt itself since this version.
const RECURSION_GUARD: (u32, u32) = (6, 1);

/// Maps count as locked memory before this version.
const MEMORY_CGROUPS: (u32, u32) = (5, 11);

/// The kernel counts runs of programs on classic tracepoints that it skips since this version (`trace_call_bpf`).
const MISSES_OF_TRACEPOINTS: (u32, u32) = (6, 12);

/// Tracing programs may give a socket its cookie since this version.
const COOKIES: (u32, u32) = (5, 12);

/// Since this version whoever holds a map's descriptor may use the map, where others than root may not use BPF
/// (`__sys_bpf`); before, that took `CAP_BPF` each time.
const MAPS_BY_DESCRIPTOR: (u32, u32) = (5, 19);

/// TcpExt's TW and TWKilled count births of time-wait sockets since this version, and expiries before.
const BIRTHS_COUNTED: (u32, u32) = (5, 18);

impl Kernel {
    /// The running kernel.
    pub fn running() -> std::io::Result<Self> {
        let release = utsname::uname()?.release().to_string_lossy().into_owned();
        Ok(Self::from_release(release))
    }

    /// The kernel of that release.
    #[must_use]
    pub fn from_release(release: String) -> Self {
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let patch = numbers.next().unwrap_or(0);
        Self { release, version, patch }
    }

    /// As in `uname -r`: distributions mend more than it tells.
    #[must_use]
    pub fn version(&self) -> (u32, u32, u32) {
        (self.version.0, self.version.1, self.patch)
    }

    /// Whether it is of this version, or newer.
    #[must_use]
    pub fn is_at_least(&self, version: (u32, u32)) -> bool {
        self.version >= version
    }

    /// Whether it is too old to count on.
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        self.version < OLDEST
    }

    /// Whether a tracing program may be interrupted by another run of itself, so that its counts need atomic
    /// additions. A vendor's backport of the guard makes the answer a needless yes, which only costs time.
    #[must_use]
    pub fn programs_interrupt_themselves(&self) -> bool {
        self.version < RECURSION_GUARD
    }

    /// Whether tracing programs may give a socket its cookie (`bpf_get_socket_cookie`).
    #[must_use]
    pub fn gives_cookies(&self) -> bool {
        self.version >= COOKIES
    }

    /// Whether maps need `RLIMIT_MEMLOCK`.
    #[must_use]
    pub fn locks_memory_for_maps(&self) -> bool {
        self.version < MEMORY_CGROUPS
    }

    /// Whether it asks for `CAP_BPF` each time that a map is read or written.
    #[must_use]
    pub fn guards_each_bpf_call(&self) -> bool {
        self.version < MAPS_BY_DESCRIPTOR
    }

    /// Whether what programs on classic tracepoints miss is counted.
    #[must_use]
    pub fn counts_misses_of_tracepoints(&self) -> bool {
        self.version >= MISSES_OF_TRACEPOINTS
    }

    /// Whether the kernel itself counts births of time-wait sockets (`__inet_twsk_schedule`).
    #[must_use]
    pub fn counts_time_wait_births(&self) -> bool {
        self.version >= BIRTHS_COUNTED
    }
}

/// The TCP sockets of the caller's network namespace, time-wait ones included, by `/proc/net/sockstat{,6}`. A size to
/// plan for, no count to show.
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
