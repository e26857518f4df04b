//! Finds the cgroup of a process on hosts with cgroup version 1.
//!
//! A socket belongs to a cgroup of version 2. On hosts that use version 1 for controllers, the
//! version 2 cgroup of a container is often the root, and only `/proc/PID/cgroup` names the
//! container.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

use super::id_map::IdMap;
use crate::{
    procfs,
    report::{Cgroup, container::container},
};

/// The time for which a cgroup that was read is used for further sockets of the process. The
/// kernel does not reuse the id of a process within this time.
const FRESH: Duration = Duration::from_millis(100);

/// The maximum number of processes, and of sockets, whose cgroups are stored.
const MAX_STORED: usize = 1 << 16;

/// The cgroups of processes and of their sockets.
#[derive(Debug, Default)]
pub(super) struct ProcessCgroups {
    by_pid: IdMap<u32, (Instant, Option<Found>)>,
    /// The cgroup of each socket, by the cookie of the socket. A socket keeps the cgroup of its
    /// first owner, also after the owner has ended.
    by_cookie: IdMap<u64, Arc<Cgroup>>,
}

/// A cgroup, and the time at which its process started, as the time since boot.
type Found = (Duration, Arc<Cgroup>);

impl ProcessCgroups {
    /// Returns the cgroup of the socket with this cookie. `age` is the age of the socket's event.
    /// A process that started after the event is another process with the same id.
    pub(super) fn get(
        &mut self,
        pid: Option<u32>,
        cookie: Option<u64>,
        age: Duration,
    ) -> Option<Arc<Cgroup>> {
        if let Some(known) = cookie.and_then(|cookie| self.by_cookie.get(&cookie)) {
            return Some(known.clone());
        }
        let (started, cgroup) = self.of_process(pid?)?;
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).ok()?;
        if since_boot.saturating_sub(started) < age {
            return None;
        }
        if let Some(cookie) = cookie {
            if self.by_cookie.len() >= MAX_STORED {
                self.by_cookie.clear();
            }
            self.by_cookie.insert(cookie, cgroup.clone());
        }
        Some(cgroup)
    }

    fn of_process(&mut self, pid: u32) -> Option<Found> {
        if let Some((read, found)) = self.by_pid.get(&pid)
            && read.elapsed() < FRESH
        {
            return found.clone();
        }
        if self.by_pid.len() >= MAX_STORED {
            self.by_pid.clear();
        }
        let read = Instant::now();
        let found = start(pid).and_then(|start| Some((start, Arc::new(of(pid)?.into()))));
        self.by_pid.insert(pid, (read, found.clone()));
        found
    }
}

/// Returns whether this host uses cgroup version 1 for controllers.
pub(crate) fn host_uses_version_1() -> bool {
    let own = procfs::text(Path::new("/proc/self/cgroup")).unwrap_or_default();
    lines(&own).any(|(controllers, _)| is_version_1(controllers))
}

/// Returns the path of the cgroup that says most about a process.
pub(crate) fn of(pid: u32) -> Option<String> {
    let text = procfs::text(format!("/proc/{pid}/cgroup").as_ref()).ok()?;
    most_telling(&text).map(str::to_owned)
}

/// Returns the time since boot at which a process started.
fn start(pid: u32) -> Option<Duration> {
    // The name of the process may contain any bytes, but no later field contains a parenthesis.
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    Some(Duration::from_nanos(ticks.checked_mul(1_000_000_000 / second)?))
}

/// Returns the controllers and the path of each line `ID:CONTROLLERS:PATH`.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// A hierarchy that has only a name, such as `name=systemd`, has no controllers.
fn is_version_1(controllers: &str) -> bool {
    !controllers.is_empty() && !controllers.starts_with("name=")
}

/// Returns the first path that names a container. If no path names a container, returns the first
/// path that is not the root, version 2 first.
fn most_telling(text: &str) -> Option<&str> {
    let rank = |controllers: &str| match controllers {
        "" => 0,
        "name=systemd" => 1,
        "memory" => 2,
        _ => 3,
    };
    let mut paths: Vec<_> = lines(text).map(|(name, path)| (rank(name), path)).collect();
    paths.sort_by_key(|&(rank, _)| rank);
    let paths = || paths.iter().map(|&(_, path)| path);
    paths()
        .find(|path| container(path).is_some())
        .or_else(|| paths().find(|&path| path != "/"))
        .or_else(|| paths().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_container_is_found_in_any_hierarchy() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";
        let docker = format!("/docker/{id}");
        for (text, expected) in [
            (format!("4:memory:{docker}\n1:name=systemd:{docker}\n0::/\n"), docker.as_str()),
            (format!("4:memory:{docker}\n0::/system.slice/containerd.service\n"), &docker),
            ("4:memory:/a\n1:name=systemd:/b.service\n0::/\n".to_owned(), "/b.service"),
            ("4:memory:/a:b\n1:cpu,cpuacct:/c\n0::/\n".to_owned(), "/a:b"),
            ("4:memory:/\n0::/user.slice\n".to_owned(), "/user.slice"),
            ("4:memory:/\n0::/\n".to_owned(), "/"),
        ] {
            assert_eq!(most_telling(&text), Some(expected), "{text}");
        }
        assert_eq!(most_telling(""), None);
    }

    #[test]
    fn only_controllers_make_a_host_use_version_1() {
        for (controllers, expected) in
            [("", false), ("name=systemd", false), ("memory", true), ("cpu,cpuacct", true)]
        {
            assert_eq!(is_version_1(controllers), expected, "{controllers}");
        }
    }

    #[test]
    fn a_process_that_started_after_the_event_has_no_cgroup() {
        let own = std::process::id();
        let mut cgroups = ProcessCgroups::default();
        let long_ago = Duration::from_secs(1 << 40);
        assert_eq!(cgroups.get(Some(own), Some(1), long_ago), None);
        let found = cgroups.get(Some(own), Some(1), Duration::ZERO).expect("it runs");
        assert_eq!(found.path, of(own).expect("it is readable"));
        // The socket keeps its cgroup when its line has no process any more.
        assert_eq!(cgroups.get(None, Some(1), long_ago), Some(found));
        assert_eq!(cgroups.get(None, Some(2), Duration::ZERO), None);
    }
}
