//! P1 reports for each destination how many local ports are in use.

use super::{Choice, SOURCE, advice, arrow, refuse_loss, widen};
use crate::doctor::{
    Thresholds,
    facts::{
        Facts, Known,
        sockets::{Destination, PortUse},
    },
    rules::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, percent},
};

pub(in crate::doctor::rules) const P1: Rule = Rule {
    id: "P1",
    family: "ports",
    title: "local ports in use per destination",
    means: "Each connection from a source address to a destination address and port needs its own \
            local port. If no port is left, connect() fails with EADDRNOTAVAIL. The fewer ports \
            are left, the longer connect() takes.",
    knows: "The rule counts sockets in any state whose local port is in ip_local_port_range, per \
            source address, destination address and destination port. The rule compares each count \
            with the number of ports that connect() tries. connect() tries an even number of ports \
            of the range. connect() skips reserved ports and ports with a listener. The rule does \
            not count sockets in TIME_WAIT whose port connect() may reuse (T5).",
    thresholds: &["ports.used_warn", "ports.used_crit"],
    reference: "net/ipv4/inet_hashtables.c: __inet_hash_connect, __inet_check_established; \
                net/ipv4/tcp_ipv4.c: tcp_twsk_unique",
    help: "Keep connections open and share them, with a pool or HTTP keep-alive. If the program \
           cannot share connections, use more source or destination addresses, and widen \
           ip_local_port_range. A program that calls bind() before connect() should set \
           IP_BIND_ADDRESS_NO_PORT.",
    check: p1,
};

fn p1(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let choice = Choice::of(facts, sockets)?;
    refuse_loss(sockets, &choice)?;
    let limits = &thresholds.ports;
    let mut pressed: Vec<(u64, &Destination, &PortUse)> = sockets
        .destinations
        .iter()
        .map(|(to, ports)| (choice.taken(to, ports), to, ports))
        .collect();
    pressed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let most = pressed.first().map_or(0, |(taken, ..)| *taken);
    pressed.retain(|(taken, ..)| limits.used_warn.is_reached(*taken, choice.ports));
    let findings = pressed.iter().take(MAX_FINDINGS).map(|&(taken, to, ports)| {
        let is_crit = limits.used_crit.is_reached(taken, choice.ports);
        let level = if is_crit { Level::Crit } else { Level::Warn };
        let owner = sockets.owner(ports.holder);
        let by =
            owner.as_ref().map(|owner| format!("; {owner} holds some of them")).unwrap_or_default();
        Finding::new(
            level,
            format!(
                "{}: {taken} of {} local ports in use ({}){by}",
                arrow(to),
                choice.ports,
                percent(taken, choice.ports)
            ),
        )
        .number("ports", choice.ports)
        .number("taken", taken)
        .number("sockets", ports.sockets)
        .number("time_wait", ports.in_time_wait())
        .number("time_wait_reusable", ports.sockets - taken)
        .number("destinations_over_threshold", pressed.len())
        .number("owner", owner)
        .advice(advice(&choice))
        .command(widen(&choice))
        .source(SOURCE)
    });
    Ok(or_ok(findings.collect(), || {
        ok(format!("no destination uses more than {most} of {} local ports", choice.ports))
            .number("ports", choice.ports)
            .number("taken", most)
            .number("destinations", sockets.destinations.len())
            .source(SOURCE)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{closed, open, ten_ports, to};
    use super::*;
    use crate::doctor::rules::testing::{levels, only};

    #[test]
    fn p1_reports_from_its_thresholds_on() {
        for (sockets, level) in [
            (0, Level::Ok),
            (5, Level::Ok),
            (6, Level::Warn),
            (8, Level::Warn),
            (9, Level::Crit),
            (10, Level::Crit),
        ] {
            assert_eq!(levels(&P1, &ten_ports(open(sockets))), [level], "{sockets}");
        }
    }

    #[test]
    fn p1_counts_only_ports_that_connect_tries() {
        for (key, value, expected) in [
            ("net.ipv4.ip_local_port_range", "40000 40009", 10),
            ("net.ipv4.ip_local_port_range", "40000 40010", 10),
            ("net.ipv4.ip_local_port_range", "40000 40000", 1),
            ("net.ipv4.ip_local_reserved_ports", "40003,40005-40006,9", 7),
        ] {
            let finding = only(&P1, &ten_ports(open(1)).with(key, value));
            assert_eq!(finding.numbers["ports"], expected, "{value}");
        }
        let mut scene = ten_ports(open(1));
        scene.sockets.listening.extend([40002, 443]);
        assert_eq!(only(&P1, &scene).numbers["ports"], 9);
    }

    #[test]
    fn p1_does_not_count_ports_that_connect_may_reuse() {
        let nine = closed([2, 1, 1, 2, 1, 2], 1);
        for (reuse, timestamps, remote, taken) in [
            ("0", "1", "10.0.0.9:443", 9),
            ("1", "1", "10.0.0.9:443", 1),
            ("1", "0", "10.0.0.9:443", 9),
            ("2", "1", "10.0.0.9:443", 9),
            ("2", "1", "127.0.0.1:443", 1),
            ("2", "1", "[::1]:443", 1),
            ("2", "0", "127.0.0.1:443", 9),
        ] {
            let mut scene = ten_ports(PortUse::default())
                .with("net.ipv4.tcp_tw_reuse", reuse)
                .with("net.ipv4.tcp_timestamps", timestamps);
            *scene.sockets.destinations.of(to(remote)) = nine;
            assert_eq!(only(&P1, &scene).numbers["taken"], taken, "{reuse} {timestamps} {remote}");
        }
    }

    #[test]
    fn p1_reports_the_ten_fullest_destinations_and_their_number() {
        let mut scene = ten_ports(open(10));
        for port in 1..=20 {
            *scene.sockets.destinations.of(to(&format!("10.0.0.9:{port}"))) = open(7);
        }
        let findings = scene.check(&P1);
        assert_eq!(findings.len(), MAX_FINDINGS);
        assert_eq!(findings[0].level, Level::Crit);
        assert_eq!(findings[0].numbers["destinations_over_threshold"], 21);
    }
}
