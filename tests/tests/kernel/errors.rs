//! Tests entries of docs/ERRORS.md whose causes exist only on some kernels. The tests run in
//! virtual machines, with `cargo xtask vm error_`.

use std::{fs, io};

use caps::{CapSet, Capability};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tcpstate::{
    check::{self, Facts, Status},
    probe::{Error, Probe, kernel::Kernel},
};
use tcpstate_tests::{errors::Row, traced::options};

fn refusal() -> Error {
    Probe::attach(&options()).err().expect("the kernel refuses")
}

/// A lower limit on locked memory, which this thread may not raise. Dropping the value restores the
/// limit. The limit on locked memory belongs to the whole process, so it must be restored before
/// the next test.
struct Lowered {
    before: (rlim_t, rlim_t),
}

impl Lowered {
    const LIFTS: Capability = Capability::CAP_SYS_RESOURCE;

    fn to(limit: rlim_t) -> Self {
        let before = getrlimit(Resource::RLIMIT_MEMLOCK).expect("there is such a limit");
        setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("limits can be lowered");
        let lowered = Self { before };
        caps::drop(None, CapSet::Effective, Self::LIFTS).expect("root can do without");
        lowered
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let (soft, hard) = self.before;
        caps::raise(None, CapSet::Effective, Self::LIFTS).expect("it is permitted still");
        setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).expect("root lifts limits");
    }
}

/// Returns the status that `check` gives a feature.
fn status(id: &str) -> Status {
    let features = check::features(&Facts::gather(false).expect("the kernel has a release"));
    assert!(!check::is_exact(&features));
    features.into_iter().find(|feature| feature.id == id).expect("it is one of them").status
}

#[test]
fn error_old_kernel() {
    // Debian has no kernel for virtual machines that is old enough for this error.
    let error = Error::Kernel { release: "5.4.0-150-generic".into() };
    Row::of("error_old_kernel").assert_error(&error);
}

#[test]
fn error_no_trampolines() {
    // Debian has no x86-64 kernel without trampolines. The kernel returns this error number on
    // aarch64 with Linux 6.1.
    let source = Box::new(io::Error::from_raw_os_error(524));
    let error = Error::Program { action: "attach", program: "inet_twsk_kill", source };
    Row::of("error_no_trampolines").assert_error(&error);
    assert!(error.is_refusal());
}

#[test]
fn error_lockdown() {
    // This test runs with `cargo xtask vm error_lockdown --write
    // /sys/kernel/security/lockdown=confidentiality`.
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
    const LIMIT: rlim_t = 64 << 10;
    if !Kernel::running().expect("the kernel has a release").locks_memory_for_maps() {
        println!("skipped: since 5.11 maps are no locked memory");
        return;
    }
    let lowered = Lowered::to(LIMIT);
    let error = refusal();
    let status = status("memory");
    drop(lowered);
    Row::of("error_locked_memory").assert_error(&error);
    assert_eq!(status, Status::Missing);
}
