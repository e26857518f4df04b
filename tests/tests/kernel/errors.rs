//! Rows of docs/ERRORS.md whose causes only some kernels have: for guests, by `cargo xtask vm error_`.

use std::fs;

use caps::{CapSet, Capability};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tcpstate::{
    check::{self, Facts, Status},
    probe::{Error, Probe, kernel::Kernel},
};
use tcpstate_tests::{errors::Row, traced::options};

fn refusal() -> Error {
    Probe::attach(&options()).err().expect("the kernel refuses")
}

/// What `check` says of a feature.
fn status(id: &str) -> Status {
    let features = check::features(&Facts::gather(false).expect("the kernel has a release"));
    assert!(!check::is_exact(&features));
    features.into_iter().find(|feature| feature.id == id).expect("it is one of them").status
}

#[test]
fn error_old_kernel() {
    // Debian has none as old as that for a guest.
    let error = Error::Kernel { release: "5.4.0-150-generic".into() };
    Row::of("error_old_kernel").assert_error(&error);
}

#[test]
fn error_lockdown() {
    // To be run by `cargo xtask vm error_lockdown --write /sys/kernel/security/lockdown=confidentiality`.
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if !lockdown.contains("[confidentiality]") {
        println!("skipped: this kernel is not locked down");
        return;
    }
    Row::of("error_lockdown").assert_error(&refusal());
    assert_eq!(status("lockdown"), Status::Missing);
    assert_eq!(status("iter_tcp"), Status::Missing);
}

#[test]
fn error_locked_memory() {
    const LIMIT: u64 = 64 << 10;
    if !Kernel::running().expect("the kernel has a release").locks_memory_for_maps() {
        println!("skipped: since 5.11 maps are no locked memory");
        return;
    }
    let lifts = Capability::CAP_SYS_RESOURCE;
    let (_, before) = getrlimit(Resource::RLIMIT_MEMLOCK).expect("there is such a limit");
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).expect("limits can be lowered");
    caps::drop(None, CapSet::Effective, lifts).expect("root can do without");
    let error = refusal();
    let status = status("memory");
    // For the tests that follow.
    caps::raise(None, CapSet::Effective, lifts).expect("it is permitted still");
    setrlimit(Resource::RLIMIT_MEMLOCK, before, before).expect("root lifts limits");
    Row::of("error_locked_memory").assert_error(&error);
    assert_eq!(status, Status::Missing);
}
