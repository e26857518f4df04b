//! Connections whose close does not complete: half-closed connections, orphans, and connections
//! whose FIN gets no ACK.

use std::time::Duration;

use tcpstate_common::State;

use super::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, percent, plural};
use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
};

pub(super) const F1: Rule = Rule {
    id: "F1",
    family: "orphans",
    title: "FIN_WAIT2 sockets held by a program",
    means: "The program has called shutdown() for writing. The peer has acknowledged the FIN but \
            has not closed the connection. While the program keeps the socket open, the kernel \
            waits without a timeout. tcp_fin_timeout applies only to sockets that no program \
            holds.",
    knows: "The rule counts, per process, sockets in FIN_WAIT2 that have an inode and whose peer \
            has been silent for long. If the peer still sends, the half-closed connection is in \
            use, and the rule does not count it.",
    thresholds: &["orphans.fin_wait2_seconds", "orphans.fin_wait2_warn"],
    reference: "net/ipv4/tcp_input.c: tcp_rcv_state_process (TCP_FIN_WAIT1, SOCK_DEAD); \
                net/ipv4/tcp.c: __tcp_close",
    help: "The program should close the socket, or stop reading after a while (SO_RCVTIMEO, \
           keepalive).",
    check: f1,
};

pub(super) const F2: Rule = Rule {
    id: "F2",
    family: "orphans",
    title: "limit of orphans",
    means: "Orphans are connections that programs have closed and that have not ended yet. Above \
            tcp_max_orphans the kernel resets orphans, and unsent data are lost. For orphans that \
            make no progress the kernel uses a lower limit. Each orphan may use up to 64 KiB of \
            memory that cannot be swapped.",
    knows: "The rule compares sockstat's orphan, which counts the whole host, with \
            tcp_max_orphans. tcp_max_orphans is visible only in the host's network namespace. The \
            rule also reads the growth of TcpExt TCPAbortOnMemory.",
    thresholds: &["orphans.used_warn"],
    reference: "net/ipv4/tcp.c: tcp_check_oom; net/ipv4/tcp_timer.c: tcp_out_of_resources; \
                Documentation/networking/ip-sysctl.rst: tcp_max_orphans",
    help: "Check the states of the orphans. Orphans in FIN_WAIT1 with unsent data have slow or \
           dead peers (tcp_orphan_retries). Raise tcp_max_orphans if there is enough memory.",
    check: f2,
};

pub(super) const F3: Rule = Rule {
    id: "F3",
    family: "orphans",
    title: "FINs without an ACK",
    means: "Sockets in LAST_ACK or CLOSING wait for the ACK of their FIN. The peers are gone, or \
            packets to them are lost.",
    knows: "The rule counts sockets in LAST_ACK and CLOSING whose peer has been silent for a \
            while.",
    thresholds: &["orphans.last_ack_seconds", "orphans.last_ack_warn"],
    reference: "net/ipv4/tcp_timer.c: tcp_orphan_retries (0 means 8), tcp_write_timeout; \
                Documentation/networking/ip-sysctl.rst: tcp_orphan_retries",
    help: "The sockets end by themselves after tcp_orphan_retries retransmissions. The default \
           value 0 means 8 retransmissions. Check the network path to the peers.",
    check: f3,
};

fn f1(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let holding = &facts.sockets()?.fin_wait2;
    let limits = &thresholds.orphans;
    let age = Duration::from_secs(limits.fin_wait2_seconds);
    let held = holding.holders.iter().map(|holder| (holder.ages.at_least(age), holder));
    let mut held: Vec<_> = held.filter(|(old, _)| *old >= limits.fin_wait2_warn.max(1)).collect();
    held.sort_by_key(|(old, _)| std::cmp::Reverse(*old));
    let findings = held.into_iter().take(MAX_FINDINGS).map(|(old, holder)| {
        let pid = holder.process.as_ref().map(|process| process.pid);
        let peer = holder.peer.map(|peer| format!(", most to {peer}")).unwrap_or_default();
        Finding::new(
            Level::Warn,
            format!(
                "{} holds {old} half-closed connections whose peer has been silent for {} s{peer}",
                holder.name(),
                limits.fin_wait2_seconds
            ),
        )
        .number("fin_wait2", holder.ages.total())
        .number("old", old)
        .number("oldest_seconds", holder.ages.oldest().map(|age| age.as_secs()))
        .number("pid", pid)
        .number("comm", holder.process.as_ref().map(|process| process.name.clone()))
        .number("peer", holder.peer.map(|peer| peer.to_string()))
        .number("max_files", holder.max_files)
        .number("not_told_apart", holding.beyond)
        .advice(
            "The program should close the connections. tcp_fin_timeout does not apply to \
             connections that a program holds.",
        )
        .command(match pid {
            Some(pid) => format!("ss -tanp state fin-wait-2 | grep pid={pid},"),
            None => "sudo tcpstate count --state fin-wait-2 --by process".to_owned(),
        })
        .source("sock_diag; /proc/PID/fd")
    });
    Ok(or_ok(findings.collect(), || {
        let all = holding.sockets();
        ok(format!("programs hold {all} socket{} in FIN_WAIT2", plural(all)))
            .number("fin_wait2", all)
            .source("sock_diag")
    }))
}

const ORPHANS: &str = "/proc/net/sockstat TCP orphan; /proc/net/netstat TcpExt TCPAbortOnMemory; \
                       /proc/sys/net/ipv4/tcp_max_orphans";

fn f2(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let orphans = facts.after.get("TCP", "orphan")?;
    let aborts = facts.growth("TcpExt", "TCPAbortOnMemory")?;
    let limit: Known<u64> = facts.sysctls.get("net.ipv4.tcp_max_orphans");
    let share = limit.as_ref().map(|limit| percent(orphans, *limit)).ok();
    let is_near =
        limit.as_ref().is_ok_and(|limit| thresholds.orphans.used_warn.is_reached(orphans, *limit));
    let of_limit = share.map(|share| format!(", {share} of the limit")).unwrap_or_default();
    let what = format!("{orphans} orphan{}{of_limit}", plural(orphans));
    let finding = match (aborts.by, is_near, &limit) {
        (1.., ..) => Finding::new(
            Level::Crit,
            format!(
                "{} connection{} reset because of too little memory or too many orphans; {what}",
                aborts.by,
                plural(aborts.by)
            ),
        ),
        (0, true, _) => Finding::new(Level::Warn, what),
        (0, false, Ok(_)) => ok(what),
        (0, false, Err(missing)) => Finding::new(
            Level::Unknown,
            format!(
                "{orphans} orphan{}, but the limit is not visible: {}",
                plural(orphans),
                missing.cause
            ),
        )
        .advice(missing.help.clone()),
    };
    let finding = match (finding.level, &limit) {
        (Level::Warn | Level::Crit, Ok(limit)) => finding
            .advice(
                "Check which peers the orphans wait for. Raise the limit if there is enough \
                 memory, up to 64 KiB per orphan.",
            )
            .command(format!("sysctl -w net.ipv4.tcp_max_orphans={}", limit.saturating_mul(2))),
        (Level::Crit, Err(_)) => finding
            .advice("On the host, raise tcp_max_orphans or the last number of tcp_mem.")
            .command("nsenter -t 1 -n sysctl net.ipv4.tcp_max_orphans net.ipv4.tcp_mem".to_owned()),
        _ => finding,
    };
    Ok(vec![
        finding
            .number("orphans", orphans)
            .number("max_orphans", limit.ok())
            .number("aborts_on_memory", aborts.by)
            .number("aborts_on_memory_total", aborts.total)
            .source(ORPHANS),
    ])
}

fn f3(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let limits = &thresholds.orphans;
    let old = sockets.last_ack.at_least(Duration::from_secs(limits.last_ack_seconds));
    let (last_ack, closing) = (sockets.in_state(State::LastAck), sockets.in_state(State::Closing));
    let finding = if old >= limits.last_ack_warn.max(1) {
        Finding::new(
            Level::Warn,
            format!(
                "{old} sockets in LAST_ACK and CLOSING have waited {} s or more for the ACK of \
                 their FIN",
                limits.last_ack_seconds
            ),
        )
        .advice(
            "The peers are gone, or packets to them are lost. The sockets end by themselves after \
             tcp_orphan_retries retransmissions.",
        )
        .command("tcpstate count --state last-ack,closing --by remote".to_owned())
    } else {
        ok(format!("{last_ack} socket{} in LAST_ACK, {closing} in CLOSING", plural(last_ack)))
    };
    Ok(vec![
        finding
            .number("old", old)
            .number("last_ack", last_ack)
            .number("closing", closing)
            .number("oldest_seconds", sockets.last_ack.oldest().map(|age| age.as_secs()))
            .number(
                "tcp_orphan_retries",
                facts.sysctls.find::<u64>("net.ipv4.tcp_orphan_retries").ok().flatten(),
            )
            .source("sock_diag; /proc/sys/net/ipv4/tcp_orphan_retries"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        facts::{Ages, Holder, Sight},
        rules::testing::{Scene, levels},
    };

    fn ages(sockets: u64, seconds: u64) -> Ages {
        let mut ages = Ages::default();
        (0..sockets).for_each(|_| ages.add(Some(Duration::from_secs(seconds))));
        ages
    }

    #[test]
    fn f1_counts_only_sockets_with_a_silent_peer() {
        for (sockets, seconds, level) in
            [(99, 60, Level::Ok), (100, 60, Level::Warn), (5000, 59, Level::Ok)]
        {
            let mut scene = Scene::default();
            scene.sockets.fin_wait2.holders.push(Holder {
                process: None,
                uid: 1000,
                sight: Sight::All,
                listener: None,
                ages: ages(sockets, seconds),
                unread: 0,
                peer: None,
                open_files: None,
                max_files: None,
            });
            assert_eq!(levels(&F1, &scene), [level], "{sockets} {seconds}");
        }
        assert_eq!(levels(&F1, &Scene::default()), [Level::Ok]);
    }

    #[test]
    fn f2_reports_the_limit_and_resets() {
        for (orphans, limit, aborts, level) in [
            (499, Some("1000"), 0, Level::Ok),
            (500, Some("1000"), 0, Level::Warn),
            (0, Some("1000"), 1, Level::Crit),
            (0, None, 1, Level::Crit),
            (500, None, 0, Level::Unknown),
        ] {
            let scene = Scene::default().counter("TCP orphan", 0, orphans).counter(
                "TcpExt TCPAbortOnMemory",
                3,
                3 + aborts,
            );
            let key = "net.ipv4.tcp_max_orphans";
            let scene = match limit {
                Some(limit) => scene.with(key, limit),
                None => scene.without(key),
            };
            assert_eq!(levels(&F2, &scene), [level], "{orphans} {limit:?} {aborts}");
        }
    }

    #[test]
    fn f3_counts_only_sockets_with_a_silent_peer() {
        for (sockets, seconds, level) in
            [(99, 10, Level::Ok), (100, 10, Level::Warn), (5000, 9, Level::Ok)]
        {
            let mut scene = Scene::default();
            scene.sockets.last_ack = ages(sockets, seconds);
            assert_eq!(levels(&F3, &scene), [level], "{sockets} {seconds}");
        }
    }
}
