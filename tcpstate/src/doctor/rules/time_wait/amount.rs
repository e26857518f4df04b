//! T8, T9 and T10 check the number of sockets in TIME_WAIT, and the rate at which sockets enter
//! TIME_WAIT.

use tcpstate_common::State;

use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
    rules::{Finding, Level, Rule, ok, or_ok, percent, rounded},
};

pub(in crate::doctor::rules) const T8: Rule = Rule {
    id: "T8",
    family: "time_wait",
    title: "tcp_fin_timeout and TIME_WAIT",
    means: "tcp_fin_timeout was changed, most likely to shorten TIME_WAIT. But tcp_fin_timeout \
            applies only to orphans in FIN_WAIT2. TIME_WAIT takes 60 s, and no setting changes \
            this duration.",
    knows: "tcp_fin_timeout is not 60, and TIME_WAIT is the most frequent state.",
    thresholds: &["time_wait.top_info"],
    reference: "include/net/tcp.h: TCP_TIMEWAIT_LEN; net/ipv4/tcp.c: __tcp_close; \
                Documentation/networking/ip-sysctl.rst: tcp_fin_timeout",
    help: "Remove the setting, unless you need its real effect: tcp_fin_timeout ends orphans whose \
           peer does not close.",
    check: t8,
};

pub(in crate::doctor::rules) const T9: Rule = Rule {
    id: "T9",
    family: "time_wait",
    title: "short connections closed by this side",
    means: "This side closes most connections first, soon after they were opened. So most \
            connections end in TIME_WAIT on this side. Each connection costs a handshake. If this \
            side also opens the connections, each closed connection holds a local port for 60 s.",
    knows: "The rule compares the growth of TcpExt TW and TWKilled with the growth of Tcp \
            ActiveOpens and PassiveOpens. The rule computes the average duration of a connection \
            as CurrEstab divided by the connections opened per second. Before 5.18, TW and \
            TWKilled count time-wait sockets that ended, so the rule adds the growth of sockstat's \
            tw.",
    thresholds: &["time_wait.short_share", "time_wait.short_per_second", "time_wait.short_seconds"],
    reference: "net/ipv4/inet_timewait_sock.c: __inet_twsk_schedule (TW counts creations since \
                5.18, expiries before); RFC 4022 (CurrEstab)",
    help: "Keep connections open (HTTP keep-alive, a pool), or let the client close first.",
    check: t9,
};

pub(in crate::doctor::rules) const T10: Rule = Rule {
    id: "T10",
    family: "time_wait",
    title: "number of sockets in TIME_WAIT",
    means: "The number of sockets in TIME_WAIT is large, but the number does no harm by itself. On \
            a server's own port, a socket in TIME_WAIT uses no additional port and at most about \
            250 bytes. P1, P2, T1 and K1 report cases that do harm.",
    knows: "The rule counts the sockets in TIME_WAIT, and how many of them have a local port with \
            a listener.",
    thresholds: &["time_wait.many_info"],
    reference: "net/ipv4/inet_timewait_sock.c; vincent.bernat.ch, Coping with the TCP TIME-WAIT \
                state",
    help: "Do nothing, unless P1, P2, T1 or K1 reports a problem.",
    check: t10,
};

fn t8(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let timeout: u64 = facts.sysctls.get("net.ipv4.tcp_fin_timeout")?;
    let sockets = facts.sockets()?;
    let time_wait = sockets.in_state(State::TimeWait);
    let is_top = State::GAUGES.iter().all(|&state| sockets.in_state(state) <= time_wait);
    let finding = if timeout != 60 && is_top && time_wait >= thresholds.time_wait.top_info {
        Finding::new(
            Level::Info,
            format!(
                "tcp_fin_timeout is {timeout}, but it applies only to orphans in FIN_WAIT2: the \
                 {time_wait} sockets in TIME_WAIT stay 60 s"
            ),
        )
        .advice(
            "No setting shortens TIME_WAIT. P1, P2 and T1 report whether the number is a problem.",
        )
    } else {
        ok(format!("tcp_fin_timeout is {timeout}; it applies only to orphans in FIN_WAIT2"))
    };
    Ok(vec![
        finding
            .number("tcp_fin_timeout", timeout)
            .number("time_wait", time_wait)
            .source("/proc/sys/net/ipv4/tcp_fin_timeout; sock_diag"),
    ])
}

/// Returns the number of sockets that entered TIME_WAIT between the two readings.
fn entries(facts: &Facts) -> Known<u64> {
    let counted = facts.growth("TcpExt", "TW")?.by + facts.growth("TcpExt", "TWKilled")?.by;
    if facts.counts_births {
        return Ok(counted);
    }
    // Before 5.18 the counters count the time-wait sockets that were destroyed. The number of
    // sockets that entered TIME_WAIT is the number of destroyed sockets plus the growth of the
    // number of time-wait sockets.
    let (before, after) = (facts.before.get("TCP", "tw")?, facts.after.get("TCP", "tw")?);
    Ok((counted + after).saturating_sub(before))
}

fn t9(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let limits = &thresholds.time_wait;
    let entries = entries(facts)?;
    let opens = facts.growth("Tcp", "ActiveOpens")?.by + facts.growth("Tcp", "PassiveOpens")?.by;
    let open_now = facts.after.get("Tcp", "CurrEstab")?;
    let per_second = facts.per_second(entries);
    let lasts = open_now as f64 / facts.per_second(opens).max(f64::MIN_POSITIVE);
    let is_short = limits.short_share.is_reached(entries, opens)
        && per_second >= limits.short_per_second
        && lasts < limits.short_seconds;
    let finding = if is_short {
        Finding::new(
            Level::Info,
            format!(
                "this side closes {per_second:.0} connections/s first ({} of the opened \
                 connections), after {lasts:.2} s on average",
                percent(entries, opens)
            ),
        )
        .advice(
            "Keep connections open and share them, or let the other side close first. The command \
             shows the remote ports.",
        )
        .command("tcpstate count --state time-wait --by remote-port".to_owned())
    } else {
        ok(format!("this side closes {per_second:.1} connections/s first"))
    };
    Ok(vec![
        finding
            .number("time_wait_entries", entries)
            .number("time_wait_entries_per_second", rounded(per_second))
            .number("opened", opens)
            .number("established", open_now)
            .number("average_seconds", (opens > 0).then(|| rounded(lasts)))
            .source(
                "/proc/net/netstat TcpExt TW, TWKilled; /proc/net/snmp Tcp ActiveOpens, \
                 PassiveOpens, CurrEstab",
            ),
    ])
}

fn t10(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let time_wait = sockets.in_state(State::TimeWait);
    let of_servers = sockets.time_wait_of_servers;
    let text =
        format!("{time_wait} sockets in TIME_WAIT, {of_servers} of them on ports with a listener");
    let found = (time_wait >= thresholds.time_wait.many_info).then(|| {
        Finding::new(Level::Info, format!("{text}: harmless by itself")).advice(
            "On a port with a listener, sockets in TIME_WAIT use no additional local port. P1 and \
             P2 check the sockets on other ports.",
        )
    });
    let findings = or_ok(found.into_iter().collect(), || ok(text));
    let with_numbers = |finding: Finding| {
        finding
            .number("time_wait", time_wait)
            .number("time_wait_of_servers", of_servers)
            .source("sock_diag")
    };
    Ok(findings.into_iter().map(with_numbers).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{
            facts::sockets::Setting,
            rules::testing::{Scene, levels, only},
        },
        source::sock_diag::{Detail, Socket},
    };

    fn time_wait(mut scene: Scene, sockets: u64, port: u16) -> Scene {
        let setting = Setting::of(&scene.facts().sysctls);
        let local = ([10, 0, 0, 1], port).into();
        for number in 0..sockets {
            let remote = ([10, 0, 0, 9], u16::try_from(number % 60000).expect("a port")).into();
            let socket = Socket {
                state: State::TimeWait,
                local,
                remote,
                holder: None,
                cgroup: None,
                cookie: 0,
                detail: Detail::default(),
            };
            scene.sockets.add(&socket, &setting);
        }
        scene
    }

    #[test]
    fn t8_needs_a_changed_timeout_and_many_in_time_wait() {
        for (timeout, sockets, level) in
            [("60", 100, Level::Ok), ("30", 99, Level::Ok), ("30", 100, Level::Info)]
        {
            let scene = time_wait(Scene::default(), sockets, 443);
            let scene = scene.with("net.ipv4.tcp_fin_timeout", timeout);
            assert_eq!(levels(&T8, &scene), [level], "{timeout} {sockets}");
        }
    }

    #[test]
    fn t9_needs_short_connections_closed_here_and_many() {
        for (entries, opens, established, level) in [
            (1000, 2000, 100, Level::Info),
            (999, 2000, 100, Level::Ok),
            (1000, 2001, 100, Level::Ok),
            (1000, 2000, 200, Level::Ok),
            (0, 0, 0, Level::Ok),
        ] {
            let scene = Scene::default()
                .counter("TcpExt TW", 5, 5 + entries)
                .counter("TcpExt TWKilled", 0, 0)
                .counter("Tcp ActiveOpens", 0, opens)
                .counter("Tcp PassiveOpens", 9, 9)
                .counter("Tcp CurrEstab", 0, established);
            assert_eq!(levels(&T9, &scene), [level], "{entries} {opens} {established}");
        }
    }

    #[test]
    fn t9_adds_the_growth_of_tw_on_kernels_that_count_ends() {
        for (kernel, level) in [("5.10.0", Level::Info), ("5.18.0", Level::Ok)] {
            let scene = Scene::default()
                .kernel(kernel)
                .counter("TcpExt TW", 5, 105)
                .counter("TcpExt TWKilled", 0, 0)
                .counter("TCP tw", 100, 1000)
                .counter("Tcp ActiveOpens", 0, 2000)
                .counter("Tcp PassiveOpens", 9, 9)
                .counter("Tcp CurrEstab", 0, 100);
            assert_eq!(levels(&T9, &scene), [level], "{kernel}");
        }
    }

    #[test]
    fn t10_calls_a_large_number_harmless() {
        let mut scene = Scene::default();
        scene.sockets.listening.insert(443);
        let scene = time_wait(scene, 9999, 443);
        assert_eq!(levels(&T10, &scene), [Level::Ok]);
        let finding = only(&T10, &time_wait(scene, 30_001, 443));
        assert_eq!(finding.level, Level::Info);
        assert_eq!(finding.numbers["time_wait_of_servers"], 40_000);
    }
}
