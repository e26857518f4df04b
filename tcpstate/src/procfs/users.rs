//! Users without a number in the user namespace of this process. The kernel shows each of them as
//! the overflow user, usually 65534, which may also be the number of a real user.

use std::path::Path;

/// Returns the number that the kernel shows for users without a number in this user namespace.
/// Returns `None` if every number stands for a real user.
#[must_use]
pub fn nameless() -> Option<u32> {
    let read = |path: &str| super::text(Path::new(path)).ok();
    let overflow = read("/proc/sys/kernel/overflowuid")?.trim().parse().ok()?;
    (!is_mapped(&read("/proc/self/uid_map")?, overflow)).then_some(overflow)
}

/// Returns whether a number stands for a user. Each line of the map is `FIRST OUTSIDE COUNT`.
fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), _, Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        (first..first.saturating_add(count)).contains(&u64::from(uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_map_stand_for_users() {
        let all = "         0          0 4294967295\n";
        let container = "0 100000 65536\n";
        let two = "0 1000 1\n1 100000 65534\n";
        for (map, uid, expected) in [
            (all, 65_534, true),
            (container, 65_534, true),
            (container, 65_536, false),
            (two, 65_534, true),
            (two, 65_535, false),
            ("0 1000 1\n", 65_534, false),
            ("", 65_534, false),
        ] {
            assert_eq!(is_mapped(map, uid), expected, "{map:?} {uid}");
        }
    }
}
