//! The value of `--user`, and the entries of `/etc/passwd`.

use std::fs;

use crate::{probe::relinquish::User, text::escaped};

/// A user that a process can change to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: User,
    /// The name and the home directory, if the user is in `/etc/passwd`.
    pub(super) entry: Option<Entry>,
}

/// The texts of an entry of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) home: String,
}

/// Parses the name or the number of a user, and returns the numbers of the user.
pub(super) fn parse(text: &str) -> Result<User, String> {
    parse_login(text).map(|login| login.user)
}

/// Parses the name or the number of a user. A user who is not in `/etc/passwd` must be given as a
/// number, and the number of the group is then the same number.
pub(super) fn parse_login(text: &str) -> Result<Login, String> {
    find(&users(), text).ok_or_else(|| {
        format!("there is no user {:?} in /etc/passwd; expected a name or a number", escaped(text))
    })
}

/// Returns the user with a number. `gid` is the group of a user who is not in `/etc/passwd`.
pub(super) fn numbered(uid: u32, gid: u32) -> Login {
    let found = find(&users(), &uid.to_string()).filter(|login| login.entry.is_some());
    found.unwrap_or(Login { user: User { uid, gid }, entry: None })
}

fn users() -> String {
    String::from_utf8_lossy(&fs::read("/etc/passwd").unwrap_or_default()).into_owned()
}

fn find(users: &str, text: &str) -> Option<Login> {
    let number: Option<u32> = text.parse().ok().filter(|&number| number != u32::MAX);
    let entries = users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let user = User { uid, gid: fields.next()?.parse().ok()? };
        let home = fields.nth(1).unwrap_or_default().to_owned();
        Some((user, Entry { name, home }))
    });
    let mut matching = entries.filter(|(user, entry)| match number {
        Some(number) => user.uid == number,
        None => entry.name == text,
    });
    let found = matching.next().map(|(user, entry)| Login { user, entry: Some(entry) });
    found.or_else(|| {
        number.map(|number| Login { user: User { uid: number, gid: number }, entry: None })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\n\n# x\nbroken:x:y\n\
         tcpstate:x:998:997::/:/usr/sbin/nologin\n";

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let user = |text: &str| find(USERS, text).map(|login| login.user);
        assert_eq!(user("tcpstate"), Some(User { uid: 998, gid: 997 }));
        assert_eq!(user("998"), Some(User { uid: 998, gid: 997 }));
        assert_eq!(user("1234"), Some(User { uid: 1234, gid: 1234 }));
        assert_eq!(user("root"), Some(User { uid: 0, gid: 0 }));
        for missing in ["nobody", "", "-1", "4294967295", "4294967296", "broken"] {
            assert_eq!(user(missing), None, "{missing}");
        }
    }

    #[test]
    fn only_users_in_the_file_have_a_name_and_a_home() {
        let entry = |text: &str| find(USERS, text).expect("a user").entry;
        let root = Entry { name: "root".to_owned(), home: "/root".to_owned() };
        assert_eq!(entry("0"), Some(root));
        assert_eq!(entry("1234"), None);
    }
}
