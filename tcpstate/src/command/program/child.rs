//! The child process: changes to its user, waits for the start, and executes the program.
//!
//! The child has the limits and the dispositions of signals that the caller of tcpstate had.

use std::{
    convert::Infallible,
    env,
    ffi::{CString, OsStr},
    fs::{self, File},
    io::{self, Read as _, Write as _},
};

use caps::{CapSet, CapsHashSet};
use nix::{
    sys::signal::{SigHandler, Signal, signal},
    unistd::{
        Gid, Uid, execvp, getegid, geteuid, getgid, getgrouplist, getuid, setgroups, setresgid,
        setresuid,
    },
};

use super::error::{Error, as_typed, cannot_start};
use crate::command::{
    environment,
    user::{self, Login},
};

/// The user of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The user of this process. The privileges do not change.
    Unchanged,
    /// The real user of a process whose effective user is another user.
    Real,
    /// Another user.
    Other(Login),
}

impl Identity {
    /// Returns the user of the program: the chosen user, or the caller of sudo, or the caller of
    /// tcpstate.
    pub(super) fn of(chosen: Option<&Login>) -> Self {
        let (real, effective) = (getuid(), geteuid());
        if let Some(login) = chosen {
            let is_own = real == effective && real.as_raw() == login.user.uid;
            return if is_own && !real.is_root() {
                Self::Unchanged
            } else {
                Self::Other(login.clone())
            };
        }
        // Only root can trust the variables of sudo.
        if real.is_root() && effective.is_root() {
            return match caller_of_sudo(|name| env::var(name).ok()) {
                Some((uid, gid)) if uid != 0 => Self::Other(user::numbered(uid, gid)),
                _ => Self::Unchanged,
            };
        }
        if real == effective && getgid() == getegid() { Self::Unchanged } else { Self::Real }
    }

    fn change(&self) -> io::Result<()> {
        match self {
            Self::Unchanged => return Ok(()),
            Self::Real => {
                let (uid, gid) = (getuid(), getgid());
                setresgid(gid, gid, gid)?;
                setresuid(uid, uid, uid)?;
            }
            Self::Other(login) => change_to(login)?,
        }
        // The kernel clears the sets only if root changes to another user. Clearing the inheritable
        // set also clears the ambient set.
        for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
            caps::set(None, set, &CapsHashSet::new()).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Returns the user and the group that called sudo, from the variables that sudo sets.
fn caller_of_sudo(variable: impl Fn(&str) -> Option<String>) -> Option<(u32, u32)> {
    let number = |name| variable(name)?.parse().ok().filter(|&number| number != u32::MAX);
    let uid = number("SUDO_UID")?;
    Some((uid, number("SUDO_GID").unwrap_or(uid)))
}

fn change_to(login: &Login) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(login.user.uid), Gid::from_raw(login.user.gid));
    let name = login.entry.as_ref().and_then(|entry| CString::new(entry.name.as_str()).ok());
    // The list contains the main group.
    let groups = name.map_or_else(|| Ok(vec![gid]), |name| getgrouplist(&name, gid))?;
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if let Some(entry) = &login.entry {
        for (name, value) in
            [("HOME", &entry.home), ("USER", &entry.name), ("LOGNAME", &entry.name)]
        {
            // SAFETY: the child has one thread.
            unsafe { env::set_var(name, value) };
        }
    }
    Ok(())
}

/// The child's ends of both pipes.
pub(super) struct Pipes {
    pub(super) wait: File,
    pub(super) report: File,
}

/// Executes the program at the start. Without a start, the child ends silently. If `tells_id`, the
/// child first reports its id in `/proc`.
pub(super) fn run(
    words: &[CString],
    identity: &Identity,
    tells_id: bool,
    Pipes { wait, mut report }: Pipes,
) -> ! {
    if tells_id {
        let link = fs::read_link("/proc/self").unwrap_or_default();
        let id: u32 = link.to_str().and_then(|id| id.parse().ok()).unwrap_or(0);
        let _ = report.write_all(&id.to_ne_bytes());
    }
    let executed = identity.change().map_err(|error| Failure::of_user(&error)).and_then(|()| {
        execute_at_start(words, wait).map_err(|error| Failure::of_execution(&error))
    });
    let Err(failure) = executed;
    // If the parent has ended, no process reads the failure.
    let _ = report.write_all(&failure.to_bytes());
    // SAFETY: the function ends the process, and runs no code of this program.
    unsafe { libc::_exit(127) }
}

fn execute_at_start(words: &[CString], mut wait: File) -> io::Result<Infallible> {
    if wait.read_exact(&mut [0]).is_err() {
        // SAFETY: the function ends the process, and runs no code of this program.
        unsafe { libc::_exit(0) }
    }
    environment::restore();
    // SAFETY: the default disposition runs no code. The standard library ignores SIGPIPE in every
    // program, so the disposition of the caller is not known.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(execvp(&words[0], words)?)
}

/// Why the program does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    is_of_user: bool,
    errno: i32,
}

impl Failure {
    pub(super) const BYTES: usize = 5;

    fn of_user(error: &io::Error) -> Self {
        Self { is_of_user: true, errno: error.raw_os_error().unwrap_or(libc::EPERM) }
    }

    fn of_execution(error: &io::Error) -> Self {
        Self { is_of_user: false, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
    }

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        [self.is_of_user.into(), a, b, c, d]
    }

    pub(super) fn from_bytes([is_of_user, a, b, c, d]: [u8; Self::BYTES]) -> Self {
        Self { is_of_user: is_of_user != 0, errno: i32::from_ne_bytes([a, b, c, d]) }
    }

    pub(super) fn of_program(self, name: &OsStr) -> Error {
        let error = io::Error::from_raw_os_error(self.errno);
        if self.is_of_user { Error::User(as_typed(name), error) } else { cannot_start(name, error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read_as_they_were_written() {
        for (is_of_user, errno) in [(true, libc::EPERM), (false, libc::ENOENT), (false, i32::MAX)] {
            let failure = Failure { is_of_user, errno };
            assert_eq!(Failure::from_bytes(failure.to_bytes()), failure);
        }
    }

    #[test]
    fn caller_of_sudo_is_known_from_its_variables() {
        let caller = |variables: &[(&str, &str)]| {
            caller_of_sudo(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(caller(&[]), None);
        assert_eq!(caller(&[("SUDO_GID", "7")]), None);
        assert_eq!(caller(&[("SUDO_UID", "1000")]), Some((1000, 1000)));
        assert_eq!(caller(&[("SUDO_UID", "1000"), ("SUDO_GID", "7")]), Some((1000, 7)));
        for wrong in ["", "-1", "4294967295", "root"] {
            assert_eq!(caller(&[("SUDO_UID", wrong)]), None, "{wrong}");
        }
    }
}
