//! Rules about CLOSE_WAIT: the peer has closed the connection, and the local program has not closed
//! the socket.

use std::time::Duration;

use super::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, plural};
use crate::doctor::{
    Thresholds,
    facts::{Facts, Holder, Known, Sight},
    thresholds::CloseWait,
};

const SOURCE: &str = "sock_diag; /proc/PID/fd, /proc/PID/limits";

pub(super) const C1: Rule = Rule {
    id: "C1",
    family: "close_wait",
    title: "connections that a program does not close",
    means: "The peer has closed and the program has not. The program leaks connections until it \
            runs out of file descriptors. The kernel has no timeout for CLOSE_WAIT, and no sysctl \
            frees the sockets.",
    knows: "The rule counts sockets in CLOSE_WAIT by process and by the time since the peer's last \
            ACK. The time since the last ACK is never longer than the time in CLOSE_WAIT. The rule \
            reports a process with many sockets that are not brand-new, or with fewer sockets that \
            are old. The rule also reports a process if its sockets are a large share of the files \
            that the process may open.",
    thresholds: &[
        "close_wait.settled_seconds",
        "close_wait.warn",
        "close_wait.crit",
        "close_wait.old_seconds",
        "close_wait.old_warn",
        "close_wait.files_crit",
    ],
    reference: "net/ipv4/tcp_input.c: tcp_fin; RFC 9293 3.6; net/ipv4/tcp.c: tcp_get_info \
                (tcpi_last_ack_recv)",
    help: "Fix the program: it has to close a socket when it reads the end of the stream or an \
           error. After a restart the program leaks connections again.",
    check: c1,
};

pub(super) const C2: Rule = Rule {
    id: "C2",
    family: "close_wait",
    title: "connections that the client closed before accept()",
    means: "If no program holds a connection in CLOSE_WAIT, the connection is in the accept queue \
            of a listener, and the client has closed it. The program of the listener is blocked or \
            far too slow.",
    knows: "The rule counts sockets in CLOSE_WAIT without an inode, which accept() would assign. \
            The rule groups the sockets by the address of the listener. The rule counts only \
            sockets whose peer has been silent for a while.",
    thresholds: &["close_wait.settled_seconds", "close_wait.never_accepted_warn"],
    reference: "net/ipv4/inet_connection_sock.c: inet_csk_accept, inet_csk_reqsk_queue_add; \
                net/ipv4/inet_diag.c: inet_diag_msg_common_fill (sock_i_ino)",
    help: "Find out why the program of the listener does not call accept(). The command of the \
           finding shows the program.",
    check: c2,
};

/// Returns three values for one program: the level, the number of sockets that have been in
/// CLOSE_WAIT for `settled_seconds` or more, and the number for `old_seconds` or more.
fn leak(holder: &Holder, limits: &CloseWait) -> (Level, u64, u64) {
    let settled = holder.ages.at_least(Duration::from_secs(limits.settled_seconds));
    let old = holder.ages.at_least(Duration::from_secs(limits.old_seconds));
    let fills_files =
        holder.max_files.is_some_and(|most| limits.files_crit.is_reached(settled, most));
    let level = if settled >= limits.crit || fills_files {
        Level::Crit
    } else if settled >= limits.warn || old >= limits.old_warn {
        Level::Warn
    } else {
        Level::Ok
    };
    (level, settled, old)
}

/// Returns the advice and the command, if no visible process has the sockets open.
fn without_program(holder: &Holder) -> (String, String) {
    let count = "sudo tcpstate count --state close-wait --by process".to_owned();
    match holder.sight {
        Sight::OwnUser => (
            "Run doctor as root to see the program. The program has to close these connections."
                .to_owned(),
            count,
        ),
        Sight::PidNamespace => (
            "Run doctor in the PID namespace of the host to see the program. The program has to \
             close these connections."
                .to_owned(),
            count,
        ),
        Sight::All | Sight::Guarded => {
            let program = holder.listener_name();
            let program = program.unwrap_or_else(|| "the program of the listener".to_owned());
            (
                format!(
                    "These sockets are in no file table that doctor can read. A program may have \
                     sent them to a process that does not receive them (SCM_RIGHTS), or may use \
                     io_uring. Look at {program} and at the processes that work for it."
                ),
                match &holder.listener {
                    Some(process) => format!("pstree -p {}", process.pid),
                    None => "ss -tlnp".to_owned(),
                },
            )
        }
    }
}

/// The function is long because it contains every text of the finding.
fn c1(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let holding = &sockets.close_wait;
    let mut leaks: Vec<_> = holding
        .holders
        .iter()
        .map(|holder| (leak(holder, &thresholds.close_wait), holder))
        .filter(|((level, ..), _)| *level > Level::Ok)
        .collect();
    leaks.sort_by_key(|((level, settled, _), _)| std::cmp::Reverse((*level, *settled)));
    let leaking = leaks.len();
    let findings = leaks.into_iter().take(MAX_FINDINGS).map(|((level, settled, old), holder)| {
        let seconds = thresholds.close_wait.old_seconds;
        let peer = holder.peer.map(|peer| format!(", most from {peer}")).unwrap_or_default();
        let of_files =
            holder.max_files.map(|most| format!(" (file limit {most})")).unwrap_or_default();
        let old_ones = if old == 0 { "none".to_owned() } else { old.to_string() };
        let (advice, command) = match &holder.process {
            Some(process) => (
                "Fix the program: it has to close these connections. After a restart the program \
                 leaks connections again."
                    .to_owned(),
                format!("ss -tanp state close-wait | grep pid={},", process.pid),
            ),
            None => without_program(holder),
        };
        Finding::new(
            level,
            format!(
                "{} holds {settled} connections in CLOSE_WAIT{of_files}, {old_ones} of them for \
                 {seconds} s or more{peer}",
                holder.name()
            ),
        )
        .number("close_wait", holder.ages.total())
        .number("settled", settled)
        .number("old", old)
        .number("oldest_seconds", holder.ages.oldest().map(|age| age.as_secs()))
        .number("unread_bytes", holder.unread)
        .number("pid", holder.process.as_ref().map(|process| process.pid))
        .number("comm", holder.process.as_ref().map(|process| process.name.clone()))
        .number("listener", holder.listener_name())
        .number("uid", holder.process.is_none().then_some(holder.uid))
        .number("peer", holder.peer.map(|peer| peer.to_string()))
        .number("open_files", holder.open_files)
        .number("max_files", holder.max_files)
        .number("programs_over_threshold", leaking)
        .number("not_told_apart", holding.beyond)
        .advice(advice)
        .command(command)
        .source(SOURCE)
    });
    Ok(or_ok(findings.collect(), || {
        let all = holding.sockets();
        ok(format!(
            "{all} socket{} in CLOSE_WAIT, below the thresholds for each program",
            plural(all)
        ))
        .number("close_wait", all)
        .source(SOURCE)
    }))
}

fn c2(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let limits = &thresholds.close_wait;
    let mut found: Vec<_> = sockets
        .never_accepted
        .iter()
        .map(|(local, ages)| {
            (ages.at_least(Duration::from_secs(limits.settled_seconds)), *local, ages)
        })
        .filter(|(settled, ..)| *settled >= limits.never_accepted_warn.max(1))
        .collect();
    found.sort_by_key(|(settled, local, _)| (std::cmp::Reverse(*settled), *local));
    let findings = found.into_iter().take(MAX_FINDINGS).map(|(settled, local, ages)| {
        let listener =
            sockets.listeners.iter().find(|listener| listener.local.port() == local.port());
        let owner = listener.and_then(|listener| sockets.owner(listener.holder));
        let whose = owner.as_ref().map(|owner| format!(" ({owner})")).unwrap_or_default();
        Finding::new(
            Level::Warn,
            format!(
                "{settled} client{} of {local}{whose} closed the connection before accept()",
                plural(settled)
            ),
        )
        .number("never_accepted", settled)
        .number("oldest_seconds", ages.oldest().map(|age| age.as_secs()))
        .number("waiting", listener.map(|listener| listener.waiting))
        .number("backlog", listener.and_then(|listener| listener.backlog))
        .number("owner", owner)
        .advice("The program does not call accept(). The command shows the program.")
        .command(format!("ss -tlnp 'sport = :{}'", local.port()))
        .source("sock_diag")
    });
    Ok(or_ok(findings.collect(), || {
        ok("no client closed a connection before accept()")
            .number("never_accepted", 0)
            .source("sock_diag")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{
            facts::{Ages, Sight},
            rules::testing::{Scene, levels, only},
        },
        report::Process,
    };

    fn ages(of: &[(u64, u64)]) -> Ages {
        let mut ages = Ages::default();
        for &(sockets, seconds) in of {
            (0..sockets).for_each(|_| ages.add(Some(Duration::from_secs(seconds))));
        }
        ages
    }

    fn leaking(of: &[(u64, u64)], max_files: Option<u64>) -> Scene {
        let mut scene = Scene::default();
        scene.sockets.close_wait.holders.push(Holder {
            process: Some(Process { pid: 77, name: "leaky".into() }),
            uid: 0,
            sight: Sight::OwnUser,
            listener: None,
            ages: ages(of),
            unread: 5,
            peer: None,
            open_files: None,
            max_files,
        });
        scene
    }

    #[test]
    fn c1_reports_from_its_thresholds_on() {
        for (of, max_files, level) in [
            (vec![], None, Level::Ok),
            (vec![(99, 5)], None, Level::Ok),
            (vec![(100, 5)], None, Level::Warn),
            // The sockets entered CLOSE_WAIT a moment ago, so the program may still close these
            // sockets soon.
            (vec![(5000, 4)], None, Level::Ok),
            (vec![(9, 60)], None, Level::Ok),
            (vec![(10, 60)], None, Level::Warn),
            (vec![(10, 59)], None, Level::Ok),
            (vec![(999, 5)], None, Level::Warn),
            (vec![(1000, 5)], None, Level::Crit),
            (vec![(50, 5)], Some(100), Level::Crit),
            (vec![(49, 5)], Some(100), Level::Ok),
        ] {
            assert_eq!(levels(&C1, &leaking(&of, max_files)), [level], "{of:?} {max_files:?}");
        }
    }

    #[test]
    fn c1_counts_sockets_of_unknown_age() {
        let mut scene = leaking(&[], None);
        let ages = &mut scene.sockets.close_wait.holders[0].ages;
        (0..100).for_each(|_| ages.add(None));
        assert_eq!(levels(&C1, &scene), [Level::Warn]);
    }

    #[test]
    fn c1_names_the_program_or_advises_root() {
        let mut scene = leaking(&[(100, 5)], None);
        let named = only(&C1, &scene);
        assert!(named.summary.starts_with("leaky[77] holds 100"), "{}", named.summary);
        assert_eq!(named.numbers["pid"], 77);
        scene.sockets.close_wait.holders[0].process = None;
        let hidden = only(&C1, &scene);
        assert!(hidden.summary.starts_with("a program of uid 0"), "{}", hidden.summary);
        assert!(hidden.advice.contains("root"), "{}", hidden.advice);
    }

    #[test]
    fn c1_names_the_listener_if_root_finds_no_process() {
        for sight in [Sight::All, Sight::Guarded] {
            let mut scene = leaking(&[(100, 5)], None);
            let holder = &mut scene.sockets.close_wait.holders[0];
            let listener = Process { pid: 99, name: "master".into() };
            (holder.process, holder.sight, holder.listener) = (None, sight, Some(listener));
            let found = only(&C1, &scene);
            let begin = "an unknown program of uid 0 (listener: master[99]) holds 100";
            assert!(found.summary.starts_with(begin), "{}", found.summary);
            assert!(found.advice.contains("master[99]") && !found.advice.contains("as root"));
            assert_eq!(
                (&found.numbers["listener"], &found.numbers["uid"]),
                (&"master[99]".into(), &0.into())
            );
        }
        let mut scene = leaking(&[(100, 5)], None);
        let holder = &mut scene.sockets.close_wait.holders[0];
        (holder.process, holder.sight) = (None, Sight::PidNamespace);
        let found = only(&C1, &scene);
        assert!(found.advice.contains("PID namespace of the host"), "{}", found.advice);
    }

    #[test]
    fn c2_counts_only_sockets_with_a_silent_peer() {
        let local = "10.0.0.1:443".parse().expect("an address with a port");
        for (of, level) in [(vec![(1, 4)], Level::Ok), (vec![(1, 5)], Level::Warn)] {
            let mut scene = Scene::default();
            *scene.sockets.never_accepted.of(local) = ages(&of);
            assert_eq!(levels(&C2, &scene), [level], "{of:?}");
        }
        assert_eq!(levels(&C2, &Scene::default()), [Level::Ok]);
    }
}
