//! TIME_WAIT: its limit, its reuse, and what does not shorten it.

use tcpstate_common::State;

use super::{Finding, Level, Rule, ok, or_ok, percent, plural, rounded};
use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
};

pub(super) const T1: Rule = Rule {
    id: "T1",
    family: "time_wait",
    title: "sockets that skip TIME_WAIT",
    means: "There were tcp_max_tw_buckets time-wait sockets, or no memory for another, so connections closed without one: a late segment of theirs may meet a new connection with the same addresses and ports.",
    knows: "The counter TcpExt TCPTimeWaitOverflow grew between the two readings.",
    thresholds: &[],
    reference: "net/ipv4/tcp_minisocks.c: tcp_time_wait; net/ipv4/inet_timewait_sock.c: inet_twsk_alloc; Documentation/networking/ip-sysctl.rst: tcp_max_tw_buckets",
    remedy: "Raise tcp_max_tw_buckets; the kernel's documentation says that it must not be lowered. A time-wait socket takes some 250 bytes.",
    check: t1,
};

pub(super) const T2: Rule = Rule {
    id: "T2",
    family: "time_wait",
    title: "room for TIME_WAIT",
    means: "Soon there will be no room for more time-wait sockets, and connections will close without one (T1).",
    knows: "sockstat's tw, which includes orphans in FIN_WAIT2, in proportion to tcp_max_tw_buckets. Both are the namespace's.",
    thresholds: &["time_wait.buckets_warn"],
    reference: "net/ipv4/inet_timewait_sock.c: inet_twsk_alloc; Documentation/networking/ip-sysctl.rst: tcp_max_tw_buckets",
    remedy: "Raise tcp_max_tw_buckets, do not lower it.",
    check: t2,
};

pub(super) const T3: Rule = Rule {
    id: "T3",
    family: "time_wait",
    title: "tcp_tw_recycle in force",
    means: "Connections from clients behind one NAT address are dropped at random, because their timestamps do not belong together.",
    knows: "The sysctl exists, which it does before 4.12 only, and is not 0.",
    thresholds: &[],
    reference: "commit 4396e46187ca (\"tcp: remove tcp_tw_recycle\", 4.12); net/ipv4/tcp_ipv4.c before it: tcp_v4_conn_request",
    remedy: "Turn it off. For outgoing connections tcp_tw_reuse does what it was meant for.",
    check: t3,
};

pub(super) const T5: Rule = Rule {
    id: "T5",
    family: "time_wait",
    title: "what tcp_tw_reuse does here",
    means: "connect() may take the port of a socket in TIME_WAIT, if its connection had timestamps: 0 never, 1 to anywhere, 2 (the default since 4.19) only where one address is a loopback address. It never helps connections that come in, and never one in FIN_WAIT2.",
    knows: "The value of the sysctl, and whether timestamps are on.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; commit 79e9fed46038 (2: loopback only, 4.19)",
    remedy: "Leave it at 2. Where P1 or P2 speak up for connections to other machines, 1 is safe with timestamps at both ends.",
    check: t5,
};

pub(super) const T6: Rule = Rule {
    id: "T6",
    family: "time_wait",
    title: "tcp_tw_reuse without timestamps",
    means: "Reuse needs the timestamps of the old connection to tell late segments from new ones; without them tcp_tw_reuse has no effect.",
    knows: "tcp_tw_reuse is not 0 while tcp_timestamps is 0.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique (tw_ts_recent_stamp)",
    remedy: "Turn timestamps on, which is the default.",
    check: t6,
};

pub(super) const T7: Rule = Rule {
    id: "T7",
    family: "time_wait",
    title: "how long before reuse",
    means: "A socket in TIME_WAIT has to be so old before connect() may take its port. The peer's timestamps must have moved on by then, or it refuses the new connection.",
    knows: "tcp_tw_reuse_delay, which kernels have since 6.14; before, and by default, it is one second.",
    thresholds: &[],
    reference: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; commit ca6a6f93867a (6.14); Documentation/networking/ip-sysctl.rst: tcp_tw_reuse_delay",
    remedy: "Leave it at 1000 ms unless you know the peers' clocks. It does not shorten TIME_WAIT.",
    check: t7,
};

pub(super) const T8: Rule = Rule {
    id: "T8",
    family: "time_wait",
    title: "tcp_fin_timeout and TIME_WAIT",
    means: "Somebody changed tcp_fin_timeout, most likely against TIME_WAIT. It is for orphans in FIN_WAIT2; TIME_WAIT takes 60 s, and nothing changes that.",
    knows: "tcp_fin_timeout is not 60 while TIME_WAIT is the most frequent state.",
    thresholds: &["time_wait.top_info"],
    reference: "include/net/tcp.h: TCP_TIMEWAIT_LEN; net/ipv4/tcp.c: __tcp_close; Documentation/networking/ip-sysctl.rst: tcp_fin_timeout",
    remedy: "Take the line out, or keep it for what it does: it ends orphans whose peer does not close.",
    check: t8,
};

pub(super) const T9: Rule = Rule {
    id: "T9",
    family: "time_wait",
    title: "short connections, closed here",
    means: "Most connections end in TIME_WAIT here soon after they were opened: this side closes first, again and again. That costs a handshake each time, and ports if this side connects.",
    knows: "The growth of TcpExt TW and TWKilled in proportion to that of Tcp ActiveOpens and PassiveOpens, and how long connections last on average: CurrEstab by how many are opened a second. Before 5.18 the two count ends, and sockstat's tw is added.",
    thresholds: &["time_wait.short_share", "time_wait.short_per_second", "time_wait.short_seconds"],
    reference: "net/ipv4/inet_timewait_sock.c: __inet_twsk_schedule (TW at birth since 5.18, at expiry before); RFC 4022 (CurrEstab)",
    remedy: "Keep connections open (HTTP keep-alive, a pool), or let the client close first.",
    check: t9,
};

pub(super) const T10: Rule = Rule {
    id: "T10",
    family: "time_wait",
    title: "many sockets in TIME_WAIT",
    means: "A large number, which by itself harms nobody: on a server's own port a socket in TIME_WAIT takes no port from anyone and no more than some 250 bytes. What can harm are P1, P2, T1 and K1.",
    knows: "Sockets in TIME_WAIT, and how many of them have a port that somebody listens on.",
    thresholds: &["time_wait.many_info"],
    reference: "net/ipv4/inet_timewait_sock.c; vincent.bernat.ch, Coping with the TCP TIME-WAIT state",
    remedy: "Nothing, unless one of those four speaks up.",
    check: t10,
};

/// `TcpExt TCPTimeWaitOverflow` of `/proc/net/netstat`, and what it is of.
const NETSTAT: &str = "/proc/net/netstat";

fn t1(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let overflows = facts.growth("TcpExt", "TCPTimeWaitOverflow")?;
    let limit: Known<u64> = facts.sysctls.get("net.ipv4.tcp_max_tw_buckets");
    let counted = if facts.recording.is_some() { "the recording" } else { "this namespace" };
    let finding = match (overflows.by, overflows.total) {
        (0, 0) => ok("no connection closed without its TIME_WAIT"),
        (0, total) => Finding::new(
            Level::Info,
            format!("{total} connection{} closed without TIME_WAIT since {counted} began, none just now", plural(total)),
        ),
        (by, _) => Finding::new(
            Level::Crit,
            format!("{by} connection{} closed without TIME_WAIT in {:.1} s: no room for more time-wait sockets", plural(by), facts.interval.as_secs_f64()),
        )
        .advice("raise the limit, do not lower it")
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

/// The command for twice as many.
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
            format!("{sockets} time-wait sockets, {share} of the {limit} there may be"),
        )
        .advice("raise the limit, do not lower it")
        .command(raised(limit))
    } else {
        ok(format!("{sockets} time-wait sockets, {share} of the {limit} there may be"))
    };
    Ok(vec![
        finding
            .number("time_wait", sockets)
            .number("max_buckets", limit)
            .source("/proc/net/sockstat TCP tw; /proc/sys/net/ipv4/tcp_max_tw_buckets"),
    ])
}

fn t3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let value: Option<u64> = facts.sysctls.find("net.ipv4.tcp_tw_recycle")?;
    let finding = match value {
        None => ok(format!("kernel {} has no tcp_tw_recycle", facts.kernel.release)),
        Some(0) => ok("tcp_tw_recycle is off"),
        Some(_) => Finding::new(
            Level::Crit,
            "tcp_tw_recycle is on: clients behind one NAT address are dropped at random",
        )
        .advice("turn it off; tcp_tw_reuse is for outgoing connections, and safe")
        .command("sysctl -w net.ipv4.tcp_tw_recycle=0".to_owned()),
    };
    Ok(vec![finding.number("tcp_tw_recycle", value).source("/proc/sys/net/ipv4/tcp_tw_recycle")])
}

/// What the values of tcp_tw_reuse mean, with the delay, on a kernel that has this one.
pub(super) fn reuse(facts: &Facts, value: u64) -> Known<String> {
    let delay: u64 = facts.sysctls.find("net.ipv4.tcp_tw_reuse_delay")?.unwrap_or(1000);
    let what = match value {
        0 => return Ok("connect() never takes a port in TIME_WAIT".into()),
        1 => "connect() takes ports in TIME_WAIT, to any destination",
        2 => "connect() takes ports in TIME_WAIT, between loopback addresses only",
        _ => "the kernel knows 0, 1 and 2",
    };
    Ok(format!("{what}, once they are {delay} ms old and if the connection had timestamps"))
}

/// Whether this kernel knows a tcp_tw_reuse of 2, which is its default then.
pub(super) fn has_loopback_reuse(facts: &Facts, value: Option<u64>) -> bool {
    // A vendor may have it earlier.
    value == Some(2) || facts.kernel.is_at_least((4, 19))
}

fn t5(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let value: u64 = facts.sysctls.get("net.ipv4.tcp_tw_reuse")?;
    let what = reuse(facts, value)?;
    let default = if has_loopback_reuse(facts, Some(value)) { 2 } else { 0 };
    let finding = if value == default {
        ok(format!("tcp_tw_reuse is {value}, the default: {what}"))
    } else {
        Finding::new(
            Level::Info,
            format!("tcp_tw_reuse is {value}: {what}; connections that come in are never helped"),
        )
        .advice(format!("the default here is {default}"))
    };
    Ok(vec![finding.number("tcp_tw_reuse", value).source("/proc/sys/net/ipv4/tcp_tw_reuse")])
}

fn t6(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let reuse: u64 = facts.sysctls.get("net.ipv4.tcp_tw_reuse")?;
    let timestamps: u64 = facts.sysctls.get("net.ipv4.tcp_timestamps")?;
    let finding = match (reuse, timestamps) {
        (0, _) | (_, 1..) => ok("tcp_tw_reuse has the timestamps that it needs, or is off"),
        (reuse, 0) => {
            let level = if reuse == 1 { Level::Warn } else { Level::Info };
            Finding::new(
                level,
                format!("tcp_tw_reuse is {reuse}, but has no effect: tcp_timestamps is 0"),
            )
            .advice("turn timestamps on, as they are by default")
            .command("sysctl -w net.ipv4.tcp_timestamps=1".to_owned())
        }
    };
    Ok(vec![
        finding
            .number("tcp_tw_reuse", reuse)
            .number("tcp_timestamps", timestamps)
            .source("/proc/sys/net/ipv4/tcp_tw_reuse, tcp_timestamps"),
    ])
}

fn t7(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let delay: Option<u64> = facts.sysctls.find("net.ipv4.tcp_tw_reuse_delay")?;
    let finding = match delay {
        None => ok("this kernel lets connect() use a port in TIME_WAIT again after 1 s, always"),
        Some(1000) => ok("connect() may use a port in TIME_WAIT again after 1 s, the default"),
        Some(delay) => Finding::new(
            Level::Info,
            format!("connect() may use a port in TIME_WAIT again after {delay} ms, not after the usual 1000 ms"),
        )
        .advice(if delay < 1000 {
            "a peer whose timestamps have not moved on by then refuses the connection"
        } else {
            "P1 and P2 count ports as taken for so long"
        })
        .command("sysctl -w net.ipv4.tcp_tw_reuse_delay=1000".to_owned()),
    };
    Ok(vec![
        finding.number("tcp_tw_reuse_delay", delay).source("/proc/sys/net/ipv4/tcp_tw_reuse_delay"),
    ])
}

fn t8(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let timeout: u64 = facts.sysctls.get("net.ipv4.tcp_fin_timeout")?;
    let sockets = facts.sockets()?;
    let time_wait = sockets.in_state(State::TimeWait);
    let is_top = State::GAUGES.iter().all(|&state| sockets.in_state(state) <= time_wait);
    let finding = if timeout != 60 && is_top && time_wait >= thresholds.time_wait.top_info {
        Finding::new(
            Level::Info,
            format!("tcp_fin_timeout is {timeout}, which ends orphans in FIN_WAIT2; the {time_wait} sockets in TIME_WAIT stay 60 s"),
        )
        .advice("nothing shortens TIME_WAIT; P1, P2 and T1 say whether it needs to be")
    } else {
        ok(format!("tcp_fin_timeout is {timeout}, for orphans in FIN_WAIT2"))
    };
    Ok(vec![
        finding
            .number("tcp_fin_timeout", timeout)
            .number("time_wait", time_wait)
            .source("/proc/sys/net/ipv4/tcp_fin_timeout; sock_diag"),
    ])
}

/// How many sockets entered TIME_WAIT between the two readings.
fn entries(facts: &Facts) -> Known<u64> {
    let counted = facts.growth("TcpExt", "TW")?.by + facts.growth("TcpExt", "TWKilled")?.by;
    if facts.counts_births {
        return Ok(counted);
    }
    // They count ends there: as many came as went, and those that there are more than before.
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
                "{per_second:.0} connections/s are closed here first, {} of those opened, after {lasts:.2} s on average",
                percent(entries, opens)
            ),
        )
        .advice("keep connections open and share them, or let the other side close first; the command shows to and from where")
        .command("tcpstate count --state time-wait --by remote-port".to_owned())
    } else {
        ok(format!("{per_second:.1} connections/s are closed here first"))
    };
    Ok(vec![
        finding
            .number("time_wait_entries", entries)
            .number("time_wait_entries_per_second", rounded(per_second))
            .number("opened", opens)
            .number("established", open_now)
            .number("average_seconds", (opens > 0).then(|| rounded(lasts)))
            .source("/proc/net/netstat TcpExt TW, TWKilled; /proc/net/snmp Tcp ActiveOpens, PassiveOpens, CurrEstab"),
    ])
}

fn t10(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let time_wait = sockets.in_state(State::TimeWait);
    let of_servers = sockets.time_wait_of_servers;
    let text =
        format!("{time_wait} sockets in TIME_WAIT, {of_servers} of them on ports of servers here");
    let found = (time_wait >= thresholds.time_wait.many_info).then(|| {
        Finding::new(Level::Info, format!("{text}: by itself harmless"))
            .advice("on a server's own port they take no local port from anyone; elsewhere P1 and P2 watch them")
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
        doctor::rules::testing::{Scene, levels, only},
        source::sock_diag::{Detail, Socket},
    };

    const OVERFLOW: &str = "TcpExt TCPTimeWaitOverflow";

    fn time_wait(mut scene: Scene, sockets: u64, port: u16) -> Scene {
        let setting = crate::doctor::facts::sockets::Setting::of(&scene.facts().sysctls);
        let local = ([10, 0, 0, 1], port).into();
        for number in 0..sockets {
            let remote = ([10, 0, 0, 9], u16::try_from(number % 60000).expect("a port")).into();
            let socket = Socket {
                state: State::TimeWait,
                local,
                remote,
                holder: None,
                cgroup: None,
                detail: Detail::default(),
            };
            scene.sockets.add(&socket, &setting);
        }
        scene
    }

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
    fn t1_says_since_when_connections_closed_so() {
        let mut facts = Scene::default().counter(OVERFLOW, 7, 7).facts();
        for (recording, since) in [(None, "this namespace"), (Some("run.tcps"), "the recording")] {
            facts.recording = recording.map(str::to_owned);
            let findings = T1.check(&facts, &Thresholds::default());
            let since = format!("since {since} began");
            assert!(findings[0].summary.contains(&since), "{findings:?}");
        }
    }

    #[test]
    fn t2_speaks_up_from_its_threshold_on() {
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

    /// A fixture: no kernel that has it runs here.
    #[test]
    fn t3_is_critical_where_it_exists_and_is_on() {
        let key = "net.ipv4.tcp_tw_recycle";
        assert_eq!(levels(&T3, &Scene::default()), [Level::Ok]);
        assert_eq!(levels(&T3, &Scene::default().with(key, "0")), [Level::Ok]);
        assert_eq!(levels(&T3, &Scene::default().with(key, "1")), [Level::Crit]);
    }

    #[test]
    fn t5_says_what_each_value_does_on_which_kernel() {
        let key = "net.ipv4.tcp_tw_reuse";
        for (kernel, value, level, says) in [
            ("6.18.0", "2", Level::Ok, "between loopback addresses only"),
            ("6.18.0", "1", Level::Info, "to any destination"),
            ("6.18.0", "0", Level::Info, "never takes"),
            ("4.14.0", "0", Level::Ok, "never takes"),
            ("4.14.0", "1", Level::Info, "to any destination"),
            ("6.18.0", "7", Level::Info, "the kernel knows 0, 1 and 2"),
        ] {
            let finding = only(&T5, &Scene::default().with(key, value).kernel(kernel));
            assert_eq!(finding.level, level, "{kernel} {value}");
            assert!(finding.summary.contains(says), "{kernel} {value}: {}", finding.summary);
        }
        let delayed = Scene::default().with("net.ipv4.tcp_tw_reuse_delay", "50");
        assert!(only(&T5, &delayed).summary.contains("once they are 50 ms old"));
    }

    #[test]
    fn t6_is_about_reuse_that_can_not_be() {
        for (reuse, timestamps, level) in [
            ("1", "1", Level::Ok),
            ("1", "2", Level::Ok),
            ("1", "0", Level::Warn),
            ("2", "0", Level::Info),
            ("0", "0", Level::Ok),
        ] {
            let scene = Scene::default()
                .with("net.ipv4.tcp_tw_reuse", reuse)
                .with("net.ipv4.tcp_timestamps", timestamps);
            assert_eq!(levels(&T6, &scene), [level], "{reuse} {timestamps}");
        }
    }

    #[test]
    fn t7_is_about_a_delay_that_is_not_the_usual_one() {
        let key = "net.ipv4.tcp_tw_reuse_delay";
        assert_eq!(levels(&T7, &Scene::default().without(key)), [Level::Ok]);
        for (delay, level) in [("1000", Level::Ok), ("999", Level::Info), ("60000", Level::Info)] {
            assert_eq!(levels(&T7, &Scene::default().with(key, delay)), [level], "{delay}");
        }
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
    fn t9_adds_what_there_is_more_where_the_kernel_counts_ends() {
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
    fn t10_says_of_a_large_number_that_it_harms_nobody() {
        let mut scene = Scene::default();
        scene.sockets.listening.insert(443);
        let scene = time_wait(scene, 9999, 443);
        assert_eq!(levels(&T10, &scene), [Level::Ok]);
        let finding = only(&T10, &time_wait(scene, 30_001, 443));
        assert_eq!(finding.level, Level::Info);
        assert_eq!(finding.numbers["time_wait_of_servers"], 40_000);
    }
}
