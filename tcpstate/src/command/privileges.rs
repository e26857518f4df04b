//! The privileges that each subcommand keeps.
//!
//! A subcommand that starts a program of the user forks the program before [`confine`], because the
//! program inherits the confinement.

use std::path::Path;

use anyhow::Result;
use caps::Capability;
use nix::unistd::{AccessFlags, eaccess};

use crate::probe::{
    Probe,
    relinquish::{self, PROCESSES},
};

/// Makes sure that no later program gets a privilege from this process. The caller must have no
/// second thread.
pub(super) fn confine() -> Result<()> {
    Ok(relinquish::confine()?)
}

/// Drops all privileges. Subcommands that read nothing from the system call this function first.
pub(super) fn drop_all() -> Result<()> {
    confine()?;
    keep(&[])
}

/// Drops all privileges before a file is read. If the file is readable only with
/// CAP_DAC_READ_SEARCH, the process keeps this capability, because a recording may have further
/// files.
pub(super) fn drop_before_reading(file: &Path) -> Result<()> {
    confine()?;
    keep(&[Capability::CAP_DAC_READ_SEARCH])?;
    let is_readable =
        relinquish::without_capabilities(|| eaccess(file, AccessFlags::R_OK).is_ok())?;
    if is_readable { keep(&[]) } else { Ok(()) }
}

/// Keeps the capabilities that read the open files of all processes.
pub(super) fn keep_for_processes() -> Result<()> {
    keep(&PROCESSES)
}

/// Drops the capabilities that a run of `trace` or `hist` does not need after its hooks are
/// attached. If the run is recorded, the thread keeps CAP_DAC_OVERRIDE, because root otherwise
/// cannot create the files of the recording in the folder of another user. If the run has a
/// program, the thread keeps CAP_KILL, because root otherwise cannot signal the process of another
/// user.
pub(super) fn keep_for_run(probe: &Probe, is_recorded: bool, has_program: bool) -> Result<()> {
    let mut wanted = relinquish::of_run(probe);
    if is_recorded {
        wanted.push(Capability::CAP_DAC_OVERRIDE);
    }
    if has_program {
        wanted.push(Capability::CAP_KILL);
    }
    keep(&wanted)
}

/// Drops all capabilities of this thread, except the given capabilities.
pub(super) fn keep(wanted: &[Capability]) -> Result<()> {
    Ok(relinquish::keep_only(wanted)?)
}
