//! Creates facts for the tests of rules. The facts describe a system without problems, and a test
//! changes single values.

use std::time::Duration;

use super::{Finding, Level, Rule};
use crate::{
    doctor::{
        Facts, Paths, Thresholds,
        facts::{Counters, SocketTable, SysctlFiles, Sysctls},
    },
    probe::kernel::Kernel,
};

/// The facts that a test gives to a rule. The methods of `Scene` change single facts.
pub(super) struct Scene {
    pub(super) sockets: SocketTable,
    kernel: &'static str,
    files: SysctlFiles,
    sysctls: Sysctls,
    counters: [Vec<(&'static str, u64)>; 2],
}

impl Default for Scene {
    fn default() -> Self {
        let sysctls = [
            ("net.core.somaxconn", "4096"),
            ("net.ipv4.ip_local_port_range", "32768\t60999"),
            ("net.ipv4.ip_local_reserved_ports", ""),
            ("net.ipv4.tcp_ehash_entries", "524288"),
            ("net.ipv4.tcp_fin_timeout", "60"),
            ("net.ipv4.tcp_max_orphans", "1000"),
            ("net.ipv4.tcp_max_syn_backlog", "2048"),
            ("net.ipv4.tcp_max_tw_buckets", "262144"),
            ("net.ipv4.tcp_syncookies", "1"),
            ("net.ipv4.tcp_timestamps", "1"),
            ("net.ipv4.tcp_tw_reuse", "2"),
            ("net.ipv4.tcp_tw_reuse_delay", "1000"),
        ];
        let sysctls = sysctls
            .into_iter()
            .fold(Sysctls::default(), |sysctls, (key, value)| sysctls.with(key, Some(value)));
        Self {
            kernel: "6.18.0",
            sockets: SocketTable::default(),
            files: SysctlFiles::default(),
            sysctls,
            counters: Default::default(),
        }
    }
}

impl Scene {
    /// Sets the kernel release.
    pub(super) fn kernel(mut self, release: &'static str) -> Self {
        self.kernel = release;
        self
    }

    /// Sets a sysctl.
    pub(super) fn with(mut self, key: &'static str, value: &str) -> Self {
        self.sysctls = self.sysctls.with(key, Some(value));
        self
    }

    /// Removes a sysctl.
    pub(super) fn without(mut self, key: &'static str) -> Self {
        self.sysctls = self.sysctls.with(key, None);
        self
    }

    /// Adds a counter such as `TcpExt TW`. `before` is the value in the first reading and `after`
    /// is the value in the second reading.
    pub(super) fn counter(mut self, name: &'static str, before: u64, after: u64) -> Self {
        self.counters[0].push((name, before));
        self.counters[1].push((name, after));
        self
    }

    /// Adds a sysctl file with this text.
    pub(super) fn file(mut self, text: &str) -> Self {
        self.files.parse("/etc/sysctl.conf".as_ref(), text);
        self
    }

    pub(super) fn facts(&self) -> Facts {
        let [before, after] = self.counters.each_ref().map(|pairs| Counters::of(pairs));
        let kernel = Kernel::from_release(self.kernel.into());
        Facts {
            counts_births: kernel.counts_time_wait_births(),
            recording: None,
            kernel,
            interval: Duration::from_secs(10),
            before,
            after,
            sysctls: self.sysctls.clone(),
            files: Ok(self.files.clone()),
            sockets: Ok(self.sockets.clone()),
        }
    }

    pub(super) fn check(&self, rule: &Rule) -> Vec<Finding> {
        rule.check(&self.facts(), &Thresholds::default())
    }
}

pub(super) fn levels(rule: &Rule, scene: &Scene) -> Vec<Level> {
    scene.check(rule).into_iter().map(|finding| finding.level).collect()
}

/// Runs the rule and returns its only finding.
pub(super) fn only(rule: &Rule, scene: &Scene) -> Finding {
    let mut findings = scene.check(rule);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

/// Returns the facts of a system where no data could be read.
pub(super) fn nothing() -> Facts {
    let paths = Paths {
        net: "/nonexistent/net".into(),
        sys: "/nonexistent/sys".into(),
        root: "/nonexistent".into(),
    };
    let sockets = Err(crate::doctor::facts::Missing {
        cause: "no answer".into(),
        help: "ask again".into(),
        source: "sock_diag".into(),
    });
    Facts {
        kernel: Kernel::from_release("6.18.0".into()),
        counts_births: true,
        recording: None,
        interval: Duration::from_secs(10),
        before: Counters::read(&paths),
        after: Counters::read(&paths),
        sysctls: Sysctls::read(&paths),
        files: Ok(SysctlFiles::read(&paths.root)),
        sockets,
    }
}
