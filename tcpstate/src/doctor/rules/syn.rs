//! Rules about the SYN queue and the accept queue of a listener, and about SYNs that get no answer.
//!
//! The file is long because it has the text of each rule, and tests of both sides of each
//! threshold.

use super::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, percent, plural};
use crate::doctor::{
    Thresholds,
    facts::{Facts, Known, SocketTable, sockets::Listener},
};

pub(super) const S1: Rule = Rule {
    id: "S1",
    family: "syn",
    title: "full accept queues",
    means: "A program accepts connections more slowly than they arrive, so its accept queue is \
            full. The kernel drops new SYNs and the last ACKs of handshakes. Clients wait for \
            seconds or give up.",
    knows: "TcpExt ListenOverflows grew between the two readings, or the accept queue of a \
            listener has more connections (Recv-Q) than its backlog (Send-Q). An accept queue can \
            hold one connection more than the backlog.",
    thresholds: &[],
    reference: "include/net/sock.h: sk_acceptq_is_full; net/ipv4/tcp_input.c: tcp_conn_request; \
                net/ipv4/tcp_ipv4.c: tcp_v4_syn_recv_sock",
    help: "Make the program accept faster, for example with more workers. A longer queue helps \
           only with bursts. The length of the queue is the smaller of net.core.somaxconn and the \
           backlog that the program passes to listen(). net.core.somaxconn is 4096 since 5.4 and \
           was 128 before. A new length takes effect when the program calls listen() again.",
    check: s1,
};

pub(super) const S2: Rule = Rule {
    id: "S2",
    family: "syn",
    title: "nearly full accept queues",
    means: "Nearly as many connections wait for accept() as the accept queue can hold. When the \
            accept queue is full, the kernel drops connections (S1).",
    knows: "The rule compares Recv-Q of a listener with Send-Q plus one.",
    thresholds: &["syn.accept_queue_warn"],
    reference: "include/net/sock.h: sk_acceptq_is_full; net/ipv4/tcp_diag.c: tcp_diag_get_info",
    help: "Make the program accept faster, or raise the backlog. The backlog is the smaller of \
           net.core.somaxconn and the argument of listen(). Restart the program after a change.",
    check: s2,
};

pub(super) const S3: Rule = Rule {
    id: "S3",
    family: "syn",
    title: "full SYN queues",
    means: "A listener got more half-open connections than its backlog, so the kernel answered \
            with SYN cookies. The cause is a SYN flood, or a burst of connections to a listener \
            with a short backlog. A connection that was made by SYN cookie loses options such as \
            window scaling if the client has no timestamps.",
    knows: "TcpExt TCPReqQFullDoCookies grew, tcp_syncookies is 1, and no accept queue overflowed. \
            If tcp_syncookies is 2, the counter grows with every SYN, so the rule ignores the \
            counter.",
    thresholds: &[],
    reference: "net/ipv4/tcp_input.c: tcp_conn_request, tcp_syn_flood_action; \
                include/net/inet_connection_sock.h: inet_csk_reqsk_queue_is_full",
    help: "If the clients are genuine, raise the backlog: the argument of listen() and \
           net.core.somaxconn. tcp_max_syn_backlog has no effect while SYN cookies are on.",
    check: s3,
};

pub(super) const S4: Rule = Rule {
    id: "S4",
    family: "syn",
    title: "SYNs dropped by full SYN queues",
    means: "SYN cookies are off, so a full SYN queue drops SYNs, including those of genuine \
            clients.",
    knows: "TcpExt TCPReqQFullDrop grew, or tcp_syncookies is 0, so that a full SYN queue would \
            drop SYNs.",
    thresholds: &[],
    reference: "net/ipv4/tcp_input.c: tcp_syn_flood_action; \
                Documentation/networking/ip-sysctl.rst: tcp_syncookies",
    help: "Turn SYN cookies on, which is the default. SYN cookies cost nothing until a SYN queue \
           is full.",
    check: s4,
};

pub(super) const S5: Rule = Rule {
    id: "S5",
    family: "syn",
    title: "SYN cookies for every connection",
    means: "The kernel uses a SYN cookie for every connection, as if the SYN queue were full. The \
            value 2 of tcp_syncookies is for tests. Connections of clients without timestamps lose \
            options.",
    knows: "tcp_syncookies is 2.",
    thresholds: &[],
    reference: "net/ipv4/tcp_input.c: tcp_conn_request; Documentation/networking/ip-sysctl.rst: \
                tcp_syncookies",
    help: "Set tcp_syncookies to 1, the default.",
    check: s5,
};

pub(super) const S6: Rule = Rule {
    id: "S6",
    family: "syn",
    title: "destinations that do not answer",
    means: "SYNs to a destination are sent again and again. The destination is down, or a firewall \
            drops the SYNs. Each unanswered socket in SYN_SENT holds a local port, for about two \
            minutes by default.",
    knows: "The rule counts, per destination, sockets in SYN_SENT whose SYN was retransmitted. The \
            rule does not use TcpExt TCPSynRetrans, because this counter includes the SYN+ACKs of \
            listeners.",
    thresholds: &["syn.unanswered_warn", "syn.unanswered_retransmits"],
    reference: "net/ipv4/tcp_timer.c: tcp_retransmit_timer; net/ipv4/tcp_output.c: \
                __tcp_retransmit_skb, tcp_rtx_synack; Documentation/networking/ip-sysctl.rst: \
                tcp_syn_retries",
    help: "Check the route to the destination and the firewalls. tcp_syn_retries limits how long \
           connect() tries. A connect timeout in the program is better than a change of \
           tcp_syn_retries.",
    check: s6,
};

/// Returns whether the accept queue is full, so that the kernel would drop the next connection to
/// this listener.
fn is_full(listener: &Listener) -> bool {
    listener.backlog.is_some_and(|backlog| listener.waiting > backlog)
}

fn name(listener: &Listener, sockets: &SocketTable) -> String {
    match sockets.owner(listener.holder) {
        Some(owner) => format!("{} ({owner})", listener.local),
        None => listener.local.to_string(),
    }
}

fn about(finding: Finding, listener: &Listener, sockets: &SocketTable, facts: &Facts) -> Finding {
    let somaxconn: Option<u64> = facts.sysctls.find("net.core.somaxconn").ok().flatten();
    let is_capped = somaxconn == listener.backlog.map(u64::from);
    let advice = if is_capped {
        "Make the program accept faster. net.core.somaxconn limits the backlog of the program. \
         After you raise net.core.somaxconn, the program has to call listen() again."
    } else {
        "Make the program accept faster. The backlog is the argument of listen(), so only the \
         program can raise the backlog."
    };
    let command = somaxconn
        .filter(|_| is_capped)
        .map(|limit| format!("sysctl -w net.core.somaxconn={}", limit * 2));
    finding
        .number("listener", listener.local.to_string())
        .number("waiting", listener.waiting)
        .number("backlog", listener.backlog)
        .number("somaxconn", somaxconn)
        .number("owner", sockets.owner(listener.holder))
        .advice(advice)
        .command(
            command.unwrap_or_else(|| format!("ss -tlnp 'sport = :{}'", listener.local.port())),
        )
}

const QUEUES: &str =
    "/proc/net/netstat TcpExt ListenOverflows; sock_diag; /proc/sys/net/core/somaxconn";

/// The function is long because it contains every text of the finding.
fn s1(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let overflows = facts.growth("TcpExt", "ListenOverflows")?;
    let full = sockets.listeners.iter().filter(|listener| is_full(listener)).take(MAX_FINDINGS);
    let mut findings: Vec<Finding> = full
        .map(|listener| {
            let backlog = listener.backlog.unwrap_or_default();
            let finding = Finding::new(
                Level::Crit,
                format!(
                    "{}: the accept queue is full, {} connections wait and the backlog is \
                     {backlog}",
                    name(listener, sockets),
                    listener.waiting
                ),
            );
            about(finding, listener, sockets, facts)
                .number("overflows", overflows.by)
                .source(QUEUES)
        })
        .collect();
    if findings.is_empty() && overflows.by > 0 {
        let fullest = sockets.listeners.first();
        let now = fullest
            .map(|listener| {
                format!("; the fullest queue now belongs to {}", name(listener, sockets))
            })
            .unwrap_or_default();
        let finding = Finding::new(
            Level::Crit,
            format!(
                "accept queues overflowed {} time{} in {:.1} s{now}",
                overflows.by,
                plural(overflows.by),
                facts.interval.as_secs_f64()
            ),
        );
        let finding = match fullest {
            Some(listener) => about(finding, listener, sockets, facts),
            None => finding
                .advice(
                    "All accept queues are empty now. Look for a listener whose program is busy in \
                     bursts.",
                )
                .command("ss -tln".to_owned()),
        };
        findings.push(
            finding
                .number("overflows", overflows.by)
                .number("overflows_total", overflows.total)
                .source(QUEUES),
        );
    }
    Ok(or_ok(findings, || {
        ok(format!(
            "no accept queue overflowed during this check ({} times since this namespace began)",
            overflows.total
        ))
        .number("overflows", 0)
        .number("overflows_total", overflows.total)
        .source(QUEUES)
    }))
}

fn s2(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let room = |listener: &Listener| listener.backlog.map(|backlog| u64::from(backlog) + 1);
    let fills = |listener: &&Listener| {
        let limit = thresholds.syn.accept_queue_warn;
        !is_full(listener)
            && room(listener).is_some_and(|room| limit.is_reached(listener.waiting.into(), room))
    };
    let findings = sockets.listeners.iter().filter(fills).take(MAX_FINDINGS).map(|listener| {
        let room = room(listener).unwrap_or_default();
        let finding = Finding::new(
            Level::Warn,
            format!(
                "{}: {} connections wait for accept(), {} of the limit of {room}",
                name(listener, sockets),
                listener.waiting,
                percent(listener.waiting.into(), room)
            ),
        );
        about(finding, listener, sockets, facts).source("sock_diag; /proc/sys/net/core/somaxconn")
    });
    let findings: Vec<Finding> = findings.collect();
    if findings.is_empty() && sockets.listeners.iter().any(|listener| listener.backlog.is_none()) {
        let why = sockets.instead_of.as_deref().unwrap_or("no reason given");
        return Ok(vec![
            Finding::new(
                Level::Unknown,
                format!(
                    "connections wait for accept(), but the limits of the queues are not visible: \
                     {why}"
                ),
            )
            .advice(
                "Run as root: modprobe -a inet_diag tcp_diag. In a container, allow netlink \
                 sockets.",
            )
            .source("/proc/net/tcp, tcp6"),
        ]);
    }
    Ok(or_ok(findings, || {
        let waiting: u64 =
            sockets.listeners.iter().map(|listener| u64::from(listener.waiting)).sum();
        ok(format!(
            "no accept queue is nearly full; {waiting} connection{} in all queues",
            plural(waiting)
        ))
        .number("waiting", waiting)
        .source("sock_diag")
    }))
}

fn s3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let cookies = facts.growth("TcpExt", "TCPReqQFullDoCookies")?;
    let mode: u64 = facts.sysctls.get("net.ipv4.tcp_syncookies")?;
    let overflows = facts.growth("TcpExt", "ListenOverflows")?.by;
    let finding = match (cookies.by, mode, overflows) {
        (1.., 1, 0) => Finding::new(
            Level::Warn,
            format!(
                "{} SYN{} found a full SYN queue and got a cookie: a SYN flood, or a backlog that \
                 is too short",
                cookies.by,
                plural(cookies.by)
            ),
        )
        .advice(
            "Find the sources of the SYNs. If the clients are genuine, raise the backlog. \
             tcp_max_syn_backlog has no effect while SYN cookies are on.",
        )
        .command("tcpstate count --state syn-recv --by remote".to_owned()),
        (1.., 1, _) => ok("SYN queues were full because accept queues were full: see S1"),
        _ => ok("no SYN found a full SYN queue"),
    };
    Ok(vec![
        finding
            .number("cookies", cookies.by)
            .number("cookies_total", cookies.total)
            .number("accept_queue_overflows", overflows)
            .number("tcp_syncookies", mode)
            .source(
                "/proc/net/netstat TcpExt TCPReqQFullDoCookies, ListenOverflows; \
                 /proc/sys/net/ipv4/tcp_syncookies",
            ),
    ])
}

fn s4(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let drops = facts.growth("TcpExt", "TCPReqQFullDrop")?;
    // A kernel built without CONFIG_SYN_COOKIES has neither SYN cookies nor the sysctl
    // tcp_syncookies.
    let mode: u64 = facts.sysctls.find("net.ipv4.tcp_syncookies")?.unwrap_or(0);
    let finding = match (drops.by, mode) {
        (1.., _) => Finding::new(
            Level::Crit,
            format!(
                "{} SYN{} dropped: a SYN queue was full and SYN cookies are off",
                drops.by,
                plural(drops.by)
            ),
        ),
        (0, 0) => {
            Finding::new(Level::Warn, "SYN cookies are off: a full SYN queue would drop SYNs")
        }
        (0, _) => ok("no full SYN queue dropped a SYN"),
    };
    let finding = match finding.level {
        Level::Ok => finding,
        _ => finding
            .advice("Turn SYN cookies on, which is the default.")
            .command("sysctl -w net.ipv4.tcp_syncookies=1".to_owned()),
    };
    Ok(vec![
        finding
            .number("drops", drops.by)
            .number("drops_total", drops.total)
            .number("tcp_syncookies", mode)
            .source("/proc/net/netstat TcpExt TCPReqQFullDrop; /proc/sys/net/ipv4/tcp_syncookies"),
    ])
}

fn s5(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let mode: u64 = facts.sysctls.get("net.ipv4.tcp_syncookies")?;
    let finding = if mode == 2 {
        Finding::new(
            Level::Warn,
            "tcp_syncookies is 2: every connection uses a SYN cookie, a setting for tests",
        )
        .advice("Set tcp_syncookies to 1, the default.")
        .command("sysctl -w net.ipv4.tcp_syncookies=1".to_owned())
    } else {
        ok(format!("tcp_syncookies is {mode}, so not every connection uses a SYN cookie"))
    };
    Ok(vec![finding.number("tcp_syncookies", mode).source("/proc/sys/net/ipv4/tcp_syncookies")])
}

fn s6(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let limits = &thresholds.syn;
    let unanswered = |retransmits| {
        let mut found: Vec<_> = sockets
            .syn_sent
            .iter()
            .map(|(remote, attempts)| (attempts.at_least(retransmits), *remote, attempts))
            .filter(|(number, ..)| *number > 0)
            .collect();
        found.sort_by_key(|(number, remote, _)| (std::cmp::Reverse(*number), *remote));
        found
    };
    let all = unanswered(limits.unanswered_retransmits);
    let number: u64 = all.iter().map(|(number, ..)| number).sum();
    let dead = all.iter().filter(|(number, ..)| *number >= limits.unanswered_warn.max(1));
    let findings = dead.take(MAX_FINDINGS).map(|(number, remote, attempts)| {
        let owner = sockets.owner(attempts.holder);
        let by =
            owner.as_ref().map(|owner| format!("; {owner} holds some of them")).unwrap_or_default();
        Finding::new(
            Level::Warn,
            format!(
                "{remote} does not answer: {number} connections have retransmitted their SYN at \
                 least {} times{by}",
                limits.unanswered_retransmits
            ),
        )
        .number("unanswered", *number)
        .number("destination", remote.to_string())
        .number("unanswered_in_all", all.iter().map(|(number, ..)| number).sum::<u64>())
        .number("owner", owner)
        .advice("The destination is down, or a firewall drops the SYNs. Check the network path.")
        .command(format!("ip route get {}", remote.ip()))
        .source("sock_diag")
    });
    Ok(or_ok(findings.collect(), || {
        ok(format!("{number} connection{} with a SYN that was not answered", plural(number)))
            .number("unanswered", number)
            .source("sock_diag")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, only};

    const OVERFLOWS: &str = "TcpExt ListenOverflows";
    const COOKIES: &str = "TcpExt TCPReqQFullDoCookies";
    const DROPS: &str = "TcpExt TCPReqQFullDrop";
    const MODE: &str = "net.ipv4.tcp_syncookies";

    fn listening(waiting: u32, backlog: Option<u32>) -> Scene {
        let local = "10.0.0.1:443".parse().expect("an address with a port");
        let mut scene = Scene::default().counter(OVERFLOWS, 7, 7);
        scene.sockets.listeners.push(Listener { local, waiting, backlog, holder: None });
        scene
    }

    #[test]
    fn s1_reports_queues_that_are_or_were_full() {
        for (waiting, backlog, level) in
            [(1, 1, Level::Ok), (2, 1, Level::Crit), (4097, 4096, Level::Crit)]
        {
            assert_eq!(levels(&S1, &listening(waiting, Some(backlog))), [level], "{waiting}");
        }
        for (before, after, level) in [(7, 7, Level::Ok), (7, 8, Level::Crit)] {
            assert_eq!(levels(&S1, &Scene::default().counter(OVERFLOWS, before, after)), [level]);
        }
    }

    #[test]
    fn s1_names_the_limit_that_applies() {
        let capped = only(&S1, &listening(4097, Some(4096)));
        assert_eq!(capped.command.as_deref(), Some("sysctl -w net.core.somaxconn=8192"));
        let own = only(&S1, &listening(6, Some(5)));
        assert_eq!(own.command.as_deref(), Some("ss -tlnp 'sport = :443'"));
    }

    #[test]
    fn s2_compares_with_the_backlog_plus_one() {
        for (waiting, backlog, level) in [
            (1, Some(1), Level::Ok),
            (7, Some(9), Level::Ok),
            (8, Some(9), Level::Warn),
            (9, Some(9), Level::Warn),
            // S2 does not report a full queue, because S1 reports full queues.
            (10, Some(9), Level::Ok),
            (1, None, Level::Unknown),
        ] {
            assert_eq!(levels(&S2, &listening(waiting, backlog)), [level], "{waiting} {backlog:?}");
        }
    }

    #[test]
    fn s3_reports_only_cookies_of_full_queues() {
        for (cookies, mode, overflows, level) in [
            (0, "1", 0, Level::Ok),
            (1, "1", 0, Level::Warn),
            (1, "1", 1, Level::Ok),
            (1, "2", 0, Level::Ok),
        ] {
            let scene = Scene::default()
                .with(MODE, mode)
                .counter(COOKIES, 3, 3 + cookies)
                .counter(OVERFLOWS, 0, overflows);
            assert_eq!(levels(&S3, &scene), [level], "{cookies} {mode} {overflows}");
        }
    }

    #[test]
    fn s4_reports_dropped_syns_and_disabled_cookies() {
        for (drops, mode, level) in
            [(0, "1", Level::Ok), (0, "0", Level::Warn), (1, "0", Level::Crit)]
        {
            let scene = Scene::default().with(MODE, mode).counter(DROPS, 3, 3 + drops);
            assert_eq!(levels(&S4, &scene), [level], "{drops} {mode}");
        }
        // The test uses stored input, because no tested kernel is built without SYN cookies.
        let without = Scene::default().without(MODE).counter(DROPS, 0, 0);
        assert_eq!(levels(&S4, &without), [Level::Warn]);
    }

    #[test]
    fn s5_reports_cookies_for_every_connection() {
        for (mode, level) in [("0", Level::Ok), ("1", Level::Ok), ("2", Level::Warn)] {
            assert_eq!(levels(&S5, &Scene::default().with(MODE, mode)), [level], "{mode}");
        }
    }

    #[test]
    fn s6_counts_retransmitted_syns_by_destination() {
        for (once, twice, thrice, level) in
            [(1000, 49, 0, Level::Ok), (0, 50, 0, Level::Warn), (0, 25, 25, Level::Warn)]
        {
            let mut scene = Scene::default();
            let remote = "10.0.0.9:443".parse().expect("an address with a port");
            scene.sockets.syn_sent.of(remote).by_retransmits[1..4]
                .copy_from_slice(&[once, twice, thrice]);
            assert_eq!(levels(&S6, &scene), [level], "{once} {twice} {thrice}");
        }
    }
}
