//! Finds the confinements that can prevent a process from using BPF although the process has the
//! capabilities: a user namespace, a seccomp filter or a lockdown.

use std::{fmt, fs, os::unix::fs::MetadataExt as _};

use nix::errno::Errno;

use super::{kernel::Kernel, privileges};

/// `PROC_USER_INIT_INO`: the inode of the initial user namespace.
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The confinement of this process, apart from capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The process is in a user namespace other than the initial user namespace. `bpf(2)` ignores
    /// capabilities of other user namespaces.
    pub user_namespace: bool,
    /// A seccomp filter checks the system calls of this process.
    pub seccomp: bool,
    /// The lockdown mode of the kernel.
    pub lockdown: Option<Lockdown>,
    /// The limit of locked memory in bytes. The field is `None` if there is no limit, or if the
    /// kernel does not count maps as locked memory.
    pub locked_memory: Option<u64>,
}

/// The modes of `/sys/kernel/security/lockdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// The kernel is not locked down.
    None,
    /// The lockdown forbids changes of the kernel.
    Integrity,
    /// The lockdown also forbids BPF programs to read kernel memory.
    Confidentiality,
}

/// The probable cause of the kernel's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// The cause is a lockdown.
    Lockdown,
    /// The cause is a seccomp filter.
    Seccomp,
    /// The cause is the limit of locked memory. The number is the limit in bytes.
    LockedMemory(u64),
}

impl Confinement {
    /// Reads the confinement of this process.
    #[must_use]
    pub fn of_process(kernel: &Kernel) -> Self {
        let text = |path| fs::read_to_string(path).ok();
        Self {
            user_namespace: fs::metadata("/proc/self/ns/user")
                .is_ok_and(|namespace| namespace.ino() != FIRST_USER_NAMESPACE),
            seccomp: text("/proc/self/status").is_some_and(|status| has_filter(&status)),
            lockdown: text("/sys/kernel/security/lockdown").and_then(|text| lockdown(&text)),
            locked_memory: kernel.locks_memory_for_maps().then(privileges::memory_limit).flatten(),
        }
    }

    /// Returns the most probable cause if the kernel refuses an action although the process has the
    /// capabilities for the action.
    #[must_use]
    pub fn suspect(&self, errno: Errno) -> Option<Suspect> {
        // A lockdown removes the BPF helpers that read kernel memory. If a program calls a removed
        // helper, the verifier considers the program invalid.
        let by_lockdown = matches!(errno, Errno::EPERM | Errno::EINVAL);
        if by_lockdown && self.lockdown == Some(Lockdown::Confidentiality) {
            return Some(Suspect::Lockdown);
        }
        if errno != Errno::EPERM {
            return None;
        }
        if self.seccomp {
            return Some(Suspect::Seccomp);
        }
        self.locked_memory.map(Suspect::LockedMemory)
    }
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lockdown => f.write_str(
                "the kernel is locked down (confidentiality), so BPF programs may not read its memory",
            ),
            Self::Seccomp => f.write_str("a seccomp filter restricts this process"),
            Self::LockedMemory(bytes) => {
                let kib = bytes / 1024;
                write!(
                    f,
                    "before Linux 5.11, BPF maps count as locked memory, and the limit is {kib} KiB"
                )
            }
        }
    }
}

impl Suspect {
    /// Returns the help line for the cause.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Lockdown => "boot with lockdown=integrity, or without lockdown",
            Self::Seccomp => {
                "allow bpf(2) and perf_event_open(2) in the seccomp profile, or run tcpstate outside the container"
            }
            Self::LockedMemory(_) => {
                "raise the limit (ulimit -l unlimited, or LimitMEMLOCK=infinity), or run tcpstate as root"
            }
        }
    }
}

/// Returns whether a seccomp filter is active. If a filter is active, the status contains
/// `Seccomp:\t2`. A process in seccomp mode 1 may use only read(2) and write(2), so this code
/// cannot run in mode 1.
pub(super) fn has_filter(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Parses the kernel's lockdown modes, such as `none [integrity] confidentiality`. The mode in
/// brackets is active.
pub(super) fn lockdown(text: &str) -> Option<Lockdown> {
    let current =
        text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match current? {
        "none" => Some(Lockdown::None),
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_in_brackets_is_active() {
        assert_eq!(lockdown("[none] integrity confidentiality\n"), Some(Lockdown::None));
        assert_eq!(lockdown("none [integrity] confidentiality\n"), Some(Lockdown::Integrity));
        let locked = lockdown("none integrity [confidentiality]\n");
        assert_eq!(locked, Some(Lockdown::Confidentiality));
        assert_eq!(lockdown("none integrity\n"), None);
    }

    #[test]
    fn only_mode_2_is_a_filter() {
        assert!(has_filter("NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!has_filter("Seccomp:\t0\nSeccomp_filters:\t2\n"));
    }

    #[test]
    fn refusals_name_the_strictest_confinement() {
        let free = Confinement { lockdown: Some(Lockdown::Integrity), ..Confinement::default() };
        let suspect = |confinement: Confinement| confinement.suspect(Errno::EPERM);
        assert_eq!(suspect(free), None);
        let limited = Confinement { locked_memory: Some(65_536), ..free };
        assert_eq!(suspect(limited), Some(Suspect::LockedMemory(65_536)));
        let filtered = Confinement { seccomp: true, ..limited };
        assert_eq!(suspect(filtered), Some(Suspect::Seccomp));
        let locked = Confinement { lockdown: Some(Lockdown::Confidentiality), ..filtered };
        assert_eq!(suspect(locked), Some(Suspect::Lockdown));
    }

    #[test]
    fn invalid_programs_are_blamed_on_lockdown_only() {
        let filtered = Confinement { seccomp: true, ..Confinement::default() };
        assert_eq!(filtered.suspect(Errno::EINVAL), None);
        let locked = Confinement { lockdown: Some(Lockdown::Confidentiality), ..filtered };
        assert_eq!(locked.suspect(Errno::EINVAL), Some(Suspect::Lockdown));
        assert_eq!(locked.suspect(Errno::ENOMEM), None);
    }
}
