//! T1 and T2 check the limit of time-wait sockets, and count the connections that closed without
//! TIME_WAIT.

use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
    rules::{Finding, Level, Rule, ok, percent, plural},
};

pub(in crate::doctor::rules) const T1: Rule = Rule {
    id: "T1",
    family: "time_wait",
    title: "connections closed without TIME_WAIT",
    means: "The number of time-wait sockets reached tcp_max_tw_buckets, or there was no memory for \
            another time-wait socket. Therefore connections closed without TIME_WAIT. A late \
            segment of a connection that closed without TIME_WAIT may reach a new connection with \
            the same addresses and ports.",
    knows: "The counter TcpExt TCPTimeWaitOverflow grew between the two readings.",
    thresholds: &[],
    reference: "net/ipv4/tcp_minisocks.c: tcp_time_wait; net/ipv4/inet_timewait_sock.c: \
                inet_twsk_alloc; Documentation/networking/ip-sysctl.rst: tcp_max_tw_buckets",
    help: "Raise tcp_max_tw_buckets. The kernel's documentation says that tcp_max_tw_buckets must \
           not be lowered. A time-wait socket takes about 250 bytes.",
    check: t1,
};

pub(in crate::doctor::rules) const T2: Rule = Rule {
    id: "T2",
    family: "time_wait",
    title: "limit of time-wait sockets",
    means: "The number of time-wait sockets is near the limit tcp_max_tw_buckets. Above the limit, \
            connections close without TIME_WAIT (T1).",
    knows: "The rule compares sockstat's tw with tcp_max_tw_buckets. tw includes orphans in \
            FIN_WAIT2. Both values belong to the network namespace.",
    thresholds: &["time_wait.buckets_warn"],
    reference: "net/ipv4/inet_timewait_sock.c: inet_twsk_alloc; \
                Documentation/networking/ip-sysctl.rst: tcp_max_tw_buckets",
    help: "Raise tcp_max_tw_buckets, and never lower it.",
    check: t2,
};

/// The file that contains the counter `TcpExt TCPTimeWaitOverflow`.
const NETSTAT: &str = "/proc/net/netstat";

fn t1(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let overflows = facts.growth("TcpExt", "TCPTimeWaitOverflow")?;
    let limit: Known<u64> = facts.sysctls.get("net.ipv4.tcp_max_tw_buckets");
    let counted = if facts.recording.is_some() { "the recording" } else { "this namespace" };
    let finding = match (overflows.by, overflows.total) {
        (0, 0) => ok("no connection closed without TIME_WAIT"),
        (0, total) => Finding::new(
            Level::Info,
            format!(
                "{total} connection{} closed without TIME_WAIT since {counted} began, none during \
                 this check",
                plural(total)
            ),
        ),
        (by, _) => Finding::new(
            Level::Crit,
            format!(
                "{by} connection{} closed without TIME_WAIT in {:.1} s: the kernel could not \
                 create more time-wait sockets",
                plural(by),
                facts.interval.as_secs_f64()
            ),
        )
        .advice("Raise tcp_max_tw_buckets, and never lower it.")
        .command(limit.as_ref().ok().copied().map(raised)),
    };
    Ok(vec![
        finding
            .number("overflows", overflows.by)
            .number("overflows_total", overflows.total)
            .number("max_buckets", limit.ok())
            .source(format!(
                "{NETSTAT} TcpExt TCPTimeWaitOverflow; /proc/sys/net/ipv4/tcp_max_tw_buckets"
            )),
    ])
}

/// Returns the command that doubles the limit.
fn raised(limit: u64) -> String {
    format!("sysctl -w net.ipv4.tcp_max_tw_buckets={}", limit.saturating_mul(2).min(1 << 30))
}

fn t2(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.after.get("TCP", "tw")?;
    let limit = facts.sysctls.get("net.ipv4.tcp_max_tw_buckets")?;
    let share = percent(sockets, limit);
    let finding = if thresholds.time_wait.buckets_warn.is_reached(sockets, limit) {
        Finding::new(
            Level::Warn,
            format!("{sockets} time-wait sockets, {share} of the limit of {limit}"),
        )
        .advice("Raise tcp_max_tw_buckets, and never lower it.")
        .command(raised(limit))
    } else {
        ok(format!("{sockets} time-wait sockets, {share} of the limit of {limit}"))
    };
    Ok(vec![
        finding
            .number("time_wait", sockets)
            .number("max_buckets", limit)
            .source("/proc/net/sockstat TCP tw; /proc/sys/net/ipv4/tcp_max_tw_buckets"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, only};

    const OVERFLOW: &str = "TcpExt TCPTimeWaitOverflow";

    #[test]
    fn t1_is_critical_only_while_it_happens() {
        for (before, after, level) in
            [(0, 0, Level::Ok), (7, 7, Level::Info), (7, 8, Level::Crit), (8, 7, Level::Unknown)]
        {
            let scene = Scene::default().counter(OVERFLOW, before, after);
            assert_eq!(levels(&T1, &scene), [level], "{before} {after}");
        }
        assert_eq!(levels(&T1, &Scene::default()), [Level::Unknown], "no such counter");
        let command = only(&T1, &Scene::default().counter(OVERFLOW, 0, 1)).command;
        assert_eq!(command.as_deref(), Some("sysctl -w net.ipv4.tcp_max_tw_buckets=524288"));
    }

    #[test]
    fn t1_names_the_start_of_its_count() {
        let mut facts = Scene::default().counter(OVERFLOW, 7, 7).facts();
        for (recording, since) in [(None, "this namespace"), (Some("run.tcps"), "the recording")] {
            facts.recording = recording.map(str::to_owned);
            let findings = T1.check(&facts, &Thresholds::default());
            let since = format!("since {since} began");
            assert!(findings[0].summary.contains(&since), "{findings:?}");
        }
    }

    #[test]
    fn t2_reports_from_its_threshold_on() {
        for (sockets, level) in
            [(0, Level::Ok), (79, Level::Ok), (80, Level::Warn), (100, Level::Warn)]
        {
            let scene = Scene::default()
                .with("net.ipv4.tcp_max_tw_buckets", "100")
                .counter("TCP tw", 0, sockets);
            assert_eq!(levels(&T2, &scene), [level], "{sockets}");
        }
        let scene = Scene::default().counter("TCP tw", 0, 5).without("net.ipv4.tcp_max_tw_buckets");
        assert_eq!(levels(&T2, &scene), [Level::Unknown]);
    }
}
