//! Connection tracking. The connection table of netfilter is separate from the sockets and has its
//! own limit.

use super::{Finding, Level, Rule, ok, percent};
use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
};

pub(super) const K1: Rule = Rule {
    id: "K1",
    family: "conntrack",
    title: "limit of connection tracking",
    means: "When the table of tracked connections is full, the kernel drops packets of new \
            connections. An entry of the table stays longer than its socket. After TIME_WAIT \
            begins, the entry stays for 120 s by default, and the socket stays for 60 s. \
            kube-proxy sets the timeout of entries in CLOSE_WAIT to 3600 s.",
    knows: "The rule compares nf_conntrack_count with nf_conntrack_max, and reads the growth of \
            the counters drop and early_drop. Without nf_conntrack there is no limit.",
    thresholds: &["conntrack.used_warn", "conntrack.used_crit"],
    reference: "net/netfilter/nf_conntrack_core.c: __nf_conntrack_alloc, nf_conntrack_in; \
                Documentation/networking/nf_conntrack-sysctl.rst",
    help: "Raise nf_conntrack_max, shorten nf_conntrack_tcp_timeout_time_wait, or exempt the \
           traffic from tracking (notrack).",
    check: k1,
};

const SOURCE: &str = "/proc/sys/net/netfilter/nf_conntrack_count, nf_conntrack_max; \
                      /proc/net/stat/nf_conntrack drop, early_drop";

fn k1(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let Some(max) = facts.sysctls.find::<u64>("net.netfilter.nf_conntrack_max")? else {
        return Ok(vec![ok("this network namespace does not track connections").source(SOURCE)]);
    };
    let count: u64 = facts.sysctls.get("net.netfilter.nf_conntrack_count")?;
    let limits = &thresholds.conntrack;
    // Only kernels built with a certain option have the file `stat/nf_conntrack`. The sysctls of
    // connection tracking exist without this option.
    let growth = |name| facts.growth("conntrack", name).ok().map(|growth| growth.by);
    let (dropped, early) = (growth("drop"), growth("early_drop"));
    let lost = dropped.unwrap_or(0) + early.unwrap_or(0);
    let share = percent(count, max);
    let timeout = |name: &str| {
        facts
            .sysctls
            .find::<u64>(&format!("net.netfilter.nf_conntrack_tcp_timeout_{name}"))
            .ok()
            .flatten()
    };
    // If the limit is 0, the kernel does not limit the number of connections.
    let level = if lost > 0 || limits.used_crit.is_reached(count, max) {
        Level::Crit
    } else if limits.used_warn.is_reached(count, max) {
        Level::Warn
    } else {
        Level::Ok
    };
    let mut finding = if level == Level::Ok {
        ok(format!("{count} tracked connections, {share} of the limit of {max}"))
    } else {
        let what =
            if lost > 0 { format!(", and {lost} drops during this check") } else { String::new() };
        Finding::new(
            level,
            format!("{count} tracked connections, {share} of the limit of {max}{what}"),
        )
        .advice(
            "Raise the limit on the host, where the limit applies to all network namespaces. \
             Another way is to shorten nf_conntrack_tcp_timeout_time_wait.",
        )
        .command(format!("sysctl -w net.netfilter.nf_conntrack_max={}", max.saturating_mul(2)))
    };
    finding = finding
        .number("count", count)
        .number("max", max)
        .number("dropped", dropped)
        .number("dropped_early", early)
        .number("time_wait_timeout_seconds", timeout("time_wait"))
        .number("close_wait_timeout_seconds", timeout("close_wait"))
        .source(SOURCE);
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, only};

    fn tracked(count: &str, drop: u64, early_drop: u64) -> Scene {
        Scene::default()
            .with("net.netfilter.nf_conntrack_max", "1000")
            .with("net.netfilter.nf_conntrack_count", count)
            .counter("conntrack drop", 5, 5 + drop)
            .counter("conntrack early_drop", 0, early_drop)
    }

    #[test]
    fn k1_reports_from_its_thresholds_on() {
        for (count, drop, early_drop, level) in [
            ("0", 0, 0, Level::Ok),
            ("749", 0, 0, Level::Ok),
            ("750", 0, 0, Level::Warn),
            ("899", 0, 0, Level::Warn),
            ("900", 0, 0, Level::Crit),
            ("10", 1, 0, Level::Crit),
            ("10", 0, 1, Level::Crit),
        ] {
            assert_eq!(levels(&K1, &tracked(count, drop, early_drop)), [level], "{count} {drop}");
        }
    }

    #[test]
    fn k1_is_ok_without_tracking_and_works_without_the_counters() {
        assert_eq!(levels(&K1, &Scene::default()), [Level::Ok]);
        let scene = Scene::default()
            .with("net.netfilter.nf_conntrack_max", "1000")
            .with("net.netfilter.nf_conntrack_count", "950");
        let finding = only(&K1, &scene);
        assert_eq!((finding.level, finding.numbers["dropped"].is_null()), (Level::Crit, true));
        let no_limit = tracked("950", 0, 0).with("net.netfilter.nf_conntrack_max", "0");
        assert_eq!(levels(&K1, &no_limit), [Level::Ok]);
    }
}
