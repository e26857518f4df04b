//! The PID namespace whose ids `/proc` shows. `ps`, `count` and `doctor` name processes by these
//! ids, so events must use these ids too.

use std::{fs, os::unix::fs::MetadataExt as _};

/// The inode of the initial PID namespace (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const INITIAL: u64 = 0xefff_fffc;

/// A PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidNamespace {
    /// The initial namespace, in which every process has an id.
    Initial,
    /// A namespace with this inode. Processes outside the namespace have no id in it.
    Inner(u32),
    /// The namespace is not known, because `/proc` is absent, or belongs to a namespace in which
    /// this process has no id.
    Unknown,
}

impl PidNamespace {
    /// Returns the namespace whose ids `/proc` shows.
    ///
    /// The function looks for a process of this namespace among this process and its ancestors,
    /// because this process may lack the right to inspect other processes.
    #[must_use]
    pub fn of_proc() -> Self {
        /// The maximum number of ancestors to look at.
        const MAX_ANCESTORS: usize = 64;
        let mut process = "self".to_owned();
        for _ in 0..MAX_ANCESTORS {
            let Ok(status) = super::text(format!("/proc/{process}/status").as_ref()) else { break };
            let namespace = format!("/proc/{process}/ns/pid");
            if has_one_id(&status)
                && let Ok(namespace) = fs::metadata(namespace)
            {
                return match namespace.ino() {
                    INITIAL => Self::Initial,
                    inode => u32::try_from(inode).map_or(Self::Unknown, Self::Inner),
                };
            }
            let Some(parent) = field(&status, "PPid:") else { break };
            parent.clone_into(&mut process);
        }
        Self::Unknown
    }
}

/// Returns whether a process is in the namespace that `/proc` shows. A process of an inner
/// namespace has an id in each namespace from that of `/proc` to its own.
fn has_one_id(status: &str) -> bool {
    field(status, "NSpid:").is_none_or(|ids| ids.split_whitespace().count() == 1)
}

/// Returns the value of a line in `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_an_inner_namespace_has_several_ids() {
        assert!(has_one_id("Name:\tx\nNSpid:\t7\nNSsid:\t1\n"));
        assert!(!has_one_id("Name:\tx\nNSpid:\t7\t1\nNSsid:\t1\n"));
        assert!(has_one_id("Name:\tx\n"), "a kernel without PID namespaces");
        assert_eq!(field("Name:\tx\nPPid:\t7\n", "PPid:"), Some("7"));
    }

    #[test]
    fn the_namespace_of_proc_is_that_of_this_process() {
        let own = fs::metadata("/proc/self/ns/pid").expect("it is readable").ino();
        let expected = if own == INITIAL {
            PidNamespace::Initial
        } else {
            PidNamespace::Inner(u32::try_from(own).expect("it has 32 bits"))
        };
        assert_eq!(PidNamespace::of_proc(), expected);
    }
}
