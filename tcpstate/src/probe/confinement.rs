//! What may keep BPF from a process that has the capabilities: a user namespace, a seccomp filter, a lockdown.

use std::{fmt, fs, os::unix::fs::MetadataExt as _};

use nix::errno::Errno;

use super::{kernel::Kernel, privileges};

/// `PROC_USER_INIT_INO`: the number of the user namespace that the kernel began with.
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// How far this process is confined, capabilities apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// It is in a user namespace in which its capabilities are worth nothing to `bpf(2)`.
    pub user_namespace: bool,
    /// Its system calls pass a filter.
    pub seccomp: bool,
    /// The kernel keeps its own memory from everybody.
    pub lockdown: Option<Lockdown>,
    /// Maps count as locked memory, and there is a limit: so many bytes.
    pub locked_memory: Option<u64>,
}

/// `/sys/kernel/security/lockdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Nothing is locked.
    None,
    /// The kernel can't be changed.
    Integrity,
    /// It can't be read, either: not by BPF programs.
    Confidentiality,
}

/// Who may have said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// A lockdown.
    Lockdown,
    /// A seccomp filter.
    Seccomp,
    /// The limit on locked memory, in bytes.
    LockedMemory(u64),
}

impl Confinement {
    /// Asks the running system.
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

    /// Who is most likely to have refused what the capabilities allow.
    #[must_use]
    pub fn suspect(&self, errno: Errno) -> Option<Suspect> {
        // The helpers that read memory are taken away, so that the verifier finds a program invalid that calls one.
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
                "the kernel is locked down (confidentiality), which keeps its memory from BPF",
            ),
            Self::Seccomp => f.write_str("this process's system calls pass a seccomp filter"),
            Self::LockedMemory(bytes) => {
                let kib = bytes / 1024;
                write!(
                    f,
                    "before Linux 5.11 maps are locked memory, of which it may have {kib} KiB"
                )
            }
        }
    }
}

impl Suspect {
    /// What helps.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Lockdown => "boot with lockdown=integrity, or without",
            Self::Seccomp => {
                "allow bpf(2) and perf_event_open(2) in the container's seccomp profile, or run it outside"
            }
            Self::LockedMemory(_) => {
                "ulimit -l unlimited, or LimitMEMLOCK=infinity, or run it as root"
            }
        }
    }
}

/// `Seccomp:\t2`: filtered. 1 would leave read(2) and write(2) alone, so we would not be here.
pub(super) fn has_filter(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// `none [integrity] confidentiality`: the one in brackets holds.
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
    fn the_lockdown_in_brackets_holds() {
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
    fn a_refusal_is_laid_to_what_confines_most() {
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
    fn an_invalid_program_is_laid_to_lockdown_and_nothing_else() {
        let filtered = Confinement { seccomp: true, ..Confinement::default() };
        assert_eq!(filtered.suspect(Errno::EINVAL), None);
        let locked = Confinement { lockdown: Some(Lockdown::Confidentiality), ..filtered };
        assert_eq!(locked.suspect(Errno::EINVAL), Some(Suspect::Lockdown));
        assert_eq!(locked.suspect(Errno::ENOMEM), None);
    }
}
