//! The value of `--user`.

use std::fs;

use crate::{probe::relinquish::User, text::escaped};

/// Parses the name or the number of a user. A user who is not in `/etc/passwd` must be given as a
/// number, and the number of the group is then the same number.
pub(super) fn parse(text: &str) -> Result<User, String> {
    let users = fs::read("/etc/passwd").unwrap_or_default();
    find(&String::from_utf8_lossy(&users), text).ok_or_else(|| {
        format!("there is no user {:?} in /etc/passwd; expected a name or a number", escaped(text))
    })
}

fn find(users: &str, text: &str) -> Option<User> {
    let number: Option<u32> = text.parse().ok().filter(|&number| number != u32::MAX);
    let entries = users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((name, User { uid, gid: fields.next()?.parse().ok()? }))
    });
    let mut matching = entries.filter(|(name, user)| match number {
        Some(number) => user.uid == number,
        None => *name == text,
    });
    let found = matching.next().map(|(_, user)| user);
    found.or_else(|| number.map(|number| User { uid: number, gid: number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\n\n# x\nbroken:x:y\n\
         tcpstate:x:998:997::/:/usr/sbin/nologin\n";

    #[test]
    fn users_are_found_by_name_and_by_number() {
        assert_eq!(find(USERS, "tcpstate"), Some(User { uid: 998, gid: 997 }));
        assert_eq!(find(USERS, "998"), Some(User { uid: 998, gid: 997 }));
        assert_eq!(find(USERS, "1234"), Some(User { uid: 1234, gid: 1234 }));
        assert_eq!(find(USERS, "root"), Some(User { uid: 0, gid: 0 }));
        for missing in ["nobody", "", "-1", "4294967295", "4294967296", "broken"] {
            assert_eq!(find(USERS, missing), None, "{missing}");
        }
    }
}
