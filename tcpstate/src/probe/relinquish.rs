//! Drops the privileges that a run does not need, in this order:
//!
//! 1. [`confine`], before the first thread starts: no program that this process starts gets a
//!    privilege. A later thread inherits this state.
//! 2. The hooks are attached.
//! 3. [`change_user`], if another user was chosen, and [`keep_only`], in each thread.
//!
//! Linux stores users and capabilities in each thread. A thread inherits them from the thread that
//! starts it.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::{errno::Errno, sys::prctl};

use super::{Error, Probe, privileges};
use crate::report::Counted;

/// The capabilities that find and enter the network namespaces of all processes. CAP_SYS_ADMIN also
/// allows creating and reading maps.
pub const NAMESPACES: [Capability; 3] =
    [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// The capabilities that read the open files of the processes of all users.
pub const PROCESSES: [Capability; 2] =
    [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// A user and the main group of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The number of the user.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
}

/// Returns the capabilities that scans and audits need after the start, if the map of scans is
/// kept. Since kernel 5.19, scans of one network namespace need no capability. Before kernel 5.19,
/// each read of a map needs CAP_BPF.
#[must_use]
pub fn of_scans(probe: &Probe, makes_scans: bool) -> Vec<Capability> {
    if probe.counted == Counted::All && makes_scans {
        NAMESPACES.to_vec()
    } else if probe.kernel.guards_each_bpf_call() {
        vec![Capability::CAP_BPF]
    } else {
        Vec::new()
    }
}

/// Returns the capabilities that a run needs after the start, if each scan creates a map and dead
/// hooks are replaced.
#[must_use]
pub fn of_run(probe: &Probe) -> Vec<Capability> {
    // CAP_BPF creates the maps of scans. CAP_PERFMON attaches another hook in place of a dead hook.
    let mut all = privileges::COUNTING.to_vec();
    if probe.counted == Counted::All {
        all.extend(NAMESPACES);
    }
    if probe.events.is_some() || probe.histograms.is_some() {
        // Opens a cgroup by its number, to find the path of the cgroup.
        all.push(Capability::CAP_DAC_READ_SEARCH);
    }
    all
}

/// Makes sure that no program that this process starts later gets a privilege, even if this process
/// is root. The process keeps its own capabilities. The function must run before the process has a
/// second thread.
///
/// A process without CAP_SETPCAP cannot change its bounding set. The flag `no_new_privs` makes the
/// bounding set useless, unless the process is root.
pub fn confine() -> Result<(), Error> {
    prctl::set_no_new_privs().map_err(refused)?;
    // Clearing the inheritable set also clears the ambient set.
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    if privileges::has(Capability::CAP_SETPCAP) {
        empty_bounding_set().map_err(refused)?;
    }
    Ok(())
}

/// Removes each capability that this kernel knows from the bounding set of this thread.
fn empty_bounding_set() -> nix::Result<()> {
    for number in 0..64_u64 {
        // SAFETY: this request of prctl takes a number, and changes no memory.
        let is_there = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) };
        if is_there == 1 {
            // SAFETY: this request of prctl takes a number, and changes no memory.
            let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
            Errno::result(dropped)?;
        }
    }
    Ok(())
}

/// Changes the user, the group and the further groups of this thread permanently. The thread keeps
/// its capabilities.
///
/// The functions of the C library would change all threads of the process, and fail if one thread
/// lacks the capability. This function calls the kernel directly.
pub fn change_user(user: User) -> io::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    prctl::set_keepcaps(true)?;
    let (uid, gid) = (user.uid, user.gid);
    // SAFETY: a list of 0 groups has no elements, so the kernel does not read the pointer.
    succeeds(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) })?;
    // SAFETY: the arguments are numbers.
    succeeds(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: the arguments are numbers.
    succeeds(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
    // The change to another user than root has cleared the effective set.
    caps::set(None, CapSet::Effective, &permitted).map_err(io::Error::other)
}

fn succeeds(result: libc::c_long) -> io::Result<()> {
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Lets this process read its own files in `/proc`, such as `fdinfo`, after a change of the user.
/// Only kernels before 5.14 need this.
pub fn show_own_files() {
    // If the call fails, a later read fails with an error.
    let _ = prctl::set_dumpable(true);
}

/// Drops all capabilities of this thread permanently, except the capabilities in `wanted`. The
/// thread passes no ambient or inheritable capability to a program that it starts.
pub fn keep_only(wanted: &[Capability]) -> Result<(), Error> {
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let kept = held.into_iter().filter(|capability| wanted.contains(capability)).collect();
    // Clearing the inheritable set also clears the ambient set.
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    set(CapSet::Effective, &kept)?;
    set(CapSet::Permitted, &kept)
}

/// Calls `look` while this thread cannot use its capabilities.
pub fn without_capabilities<T>(look: impl FnOnce() -> T) -> Result<T, Error> {
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    set(CapSet::Effective, &CapsHashSet::new())?;
    let seen = look();
    set(CapSet::Effective, &held)?;
    Ok(seen)
}

fn set(set: CapSet, capabilities: &CapsHashSet) -> Result<(), Error> {
    caps::set(None, set, capabilities).map_err(|error| Error::System {
        action: "give up capabilities",
        source: io::Error::other(error),
    })
}

fn refused(errno: Errno) -> Error {
    Error::System { action: "give up privileges", source: errno.into() }
}
