//! The privileges of a process and its threads, as `/proc/PID/status` shows them.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::{ffi::OsStr, fs};

use tcpstate::probe::kernel::Kernel;
use tcpstate_common::State;

use crate::{
    netns::Namespace,
    served::{PATIENCE, Server, serve, sockets},
    traffic::{Family, Listener},
    wait,
};

/// The bit of `CAP_DAC_OVERRIDE` in a set of capabilities.
pub const DAC_OVERRIDE: u64 = 1 << 1;
/// The bit of `CAP_DAC_READ_SEARCH` in a set of capabilities.
pub const DAC_READ_SEARCH: u64 = 1 << 2;
/// The bit of `CAP_SYS_PTRACE` in a set of capabilities.
pub const SYS_PTRACE: u64 = 1 << 19;
/// The bit of `CAP_SYS_ADMIN` in a set of capabilities.
pub const SYS_ADMIN: u64 = 1 << 21;
/// The bit of `CAP_PERFMON` in a set of capabilities.
pub const PERFMON: u64 = 1 << 38;
/// The bit of `CAP_BPF` in a set of capabilities.
pub const BPF: u64 = 1 << 39;

/// The privileges of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    permitted: u64,
    effective: u64,
    /// The inheritable, the bounding and the ambient capabilities.
    others: [u64; 3],
    no_new_privs: bool,
    users: String,
    groups: String,
}

impl Privileges {
    /// Parses the file `status` of a thread in `/proc`.
    ///
    /// # Panics
    /// Panics if a field is missing.
    #[must_use]
    pub fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
        };
        let set = |name: &str| u64::from_str_radix(&field(name), 16).expect("a set is a number");
        Self {
            permitted: set("CapPrm"),
            effective: set("CapEff"),
            others: ["CapInh", "CapBnd", "CapAmb"].map(set),
            no_new_privs: field("NoNewPrivs") == "1",
            users: field("Uid"),
            groups: format!("{} {}", field("Gid"), field("Groups")),
        }
    }

    /// The privileges of root with these capabilities and without any way to get more.
    ///
    /// # Panics
    /// Panics if `/proc` is not mounted.
    #[must_use]
    pub fn of_root(capabilities: u64) -> Self {
        Self {
            permitted: capabilities,
            effective: capabilities,
            others: [0; 3],
            no_new_privs: true,
            users: "0\t0\t0\t0".into(),
            groups: Self::parse(&fs::read_to_string("/proc/self/status").expect("procfs")).groups,
        }
    }

    /// The privileges of the user `nobody` with these capabilities and without any way to get more.
    ///
    /// # Panics
    /// Panics if `/proc` is not mounted.
    #[must_use]
    pub fn of_nobody(capabilities: u64) -> Self {
        let (users, groups) = ("65534\t65534\t65534\t65534", "65534\t65534\t65534\t65534 ");
        Self { users: users.into(), groups: groups.into(), ..Self::of_root(capabilities) }
    }
}

/// Returns the privileges of each thread of a process. Consecutive threads with equal
/// privileges count once.
///
/// # Panics
/// Panics if the process has ended.
#[must_use]
pub fn of_threads(pid: u32) -> Vec<Privileges> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    let mut all: Vec<_> =
        tasks.flatten().filter_map(status).map(|it| Privileges::parse(&it)).collect();
    all.dedup();
    all
}

/// Returns `capabilities`, and CAP_BPF on a kernel that checks CAP_BPF at each use of a map.
///
/// # Panics
/// Panics if the version of the kernel is unknown.
#[must_use]
pub fn with_map_reads(capabilities: u64) -> u64 {
    let is_old = Kernel::running().expect("uname").guards_each_bpf_call();
    capabilities | if is_old { BPF } else { 0 }
}

/// Runs `serve --user` of this program. Asserts that `serve` keeps only the privilege that map
/// reads need on this kernel and says so, and that scans and audits still work.
///
/// # Panics
/// Panics if `serve` keeps another privilege, or does not work.
pub fn assert_serve_as_another_user(program: impl AsRef<OsStr>) {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let before = listener.pairs(7);
    let server = Server::start(&mut serve(program, &["--user", "65534", "--hist"]));
    let mut expected = vec![Privileges::of_nobody(0), Privileges::of_nobody(with_map_reads(0))];
    expected.dedup();
    assert_eq!(of_threads(server.pid()), expected);
    let is_old = with_map_reads(0) != 0;
    assert_eq!(server.said().contains("keeps CAP_BPF"), is_old, "{}", server.said());
    let during = listener.pairs(5);
    server.scan();
    assert_eq!(sockets(&server, State::Established), 2.0 * (7.0 + 5.0 + 1.0));
    // An audit lists the sockets by sock_diag.
    let audits = || server.metrics()["tcpstate_audits_total"];
    let first = audits();
    wait::until_within(PATIENCE, "an audit", || audits() > first);
    assert_eq!(server.metrics()["tcpstate_exact"], 1.0);
    assert!(server.end().success());
    drop((before, during));
}
