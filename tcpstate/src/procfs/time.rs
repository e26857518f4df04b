//! The offset of the clocks in a time namespace. BPF programs record times of the host's monotonic
//! clock. In a time namespace, the monotonic clock of this process differs from the host's clock.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The inode of the initial time namespace (`PROC_TIME_INIT_INO` in `include/linux/proc_ns.h`).
const INITIAL: u64 = 0xefff_fffa;
const NANOS: i64 = 1_000_000_000;

/// Returns the monotonic clock of this process minus the monotonic clock of the host, in
/// nanoseconds. Returns `None` if the difference cannot be known.
#[must_use]
pub fn monotonic_offset() -> Option<i64> {
    let inode = |file| fs::metadata(format!("/proc/self/ns/{file}")).ok().map(|file| file.ino());
    let Some(own) = inode("time") else {
        // Kernels without time namespaces lack the file. If /proc is absent, nothing is known.
        return Path::new("/proc/self/ns").exists().then_some(0);
    };
    if own == INITIAL {
        return Some(0);
    }
    // The file of offsets describes the namespace of the children of this process.
    if inode("time_for_children") != Some(own) {
        return None;
    }
    monotonic(&super::text(Path::new("/proc/self/timens_offsets")).ok()?)
}

/// Returns whether this process has the clocks of the host.
#[must_use]
pub fn has_clocks_of_host() -> bool {
    let time = fs::metadata("/proc/self/ns/time").map(|file| file.ino());
    // Kernels without time namespaces lack the file.
    time.map_or(true, |inode| inode == INITIAL)
}

/// Parses the line `monotonic SECONDS NANOSECONDS`.
fn monotonic(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(NANOS)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_the_monotonic_clock_are_parsed() {
        let file = "monotonic      86400         7\nboottime          50         0\n";
        assert_eq!(monotonic(file), Some(86_400 * NANOS + 7));
        // The kernel normalises negative offsets: the nanoseconds are never negative.
        let back = "monotonic       -100 999999999\nboottime           0         0\n";
        assert_eq!(monotonic(back), Some(-100 * NANOS + 999_999_999));
        for wrong in ["", "boottime 1 1\n", "monotonic 1\n", "monotonic x 1\n"] {
            assert_eq!(monotonic(wrong), None, "{wrong:?}");
        }
        assert_eq!(monotonic("monotonic 9223372036854775807 0\n"), None);
    }
}
