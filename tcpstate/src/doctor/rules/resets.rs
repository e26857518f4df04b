//! Connections that were closed by a reset.

use super::{Finding, Level, Rule, ok, percent, rounded};
use crate::doctor::{
    Thresholds,
    facts::{Facts, Known},
};

pub(super) const R1: Rule = Rule {
    id: "R1",
    family: "resets",
    title: "connections ended by a reset",
    means: "A large share of the connections ends with a reset from one of the two sides. Data may \
            be lost. Some programs reset on purpose (SO_LINGER with 0), which also avoids \
            TIME_WAIT.",
    knows: "The rule compares the growth of Tcp EstabResets with the growth of ActiveOpens and \
            PassiveOpens. EstabResets counts transitions from ESTABLISHED or CLOSE_WAIT to CLOSE. \
            The counters TcpExt TCPAbortOn* show some of the reasons for resets.",
    thresholds: &["resets.share_info", "resets.at_least"],
    reference: "net/ipv4/tcp.c: tcp_set_state (TCP_MIB_ESTABRESETS), __tcp_close; RFC 4022 \
                (tcpEstabResets)",
    help: "Find out which side resets connections: OutRsts grows if this side sends RSTs. \
           TCPAbortOnClose grows if a program closes with unread data. TCPAbortOnData grows if the \
           peer sends data after a program has closed. TCPAbortOnTimeout grows if the peer is \
           gone.",
    check: r1,
};

fn r1(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let limits = &thresholds.resets;
    let resets = facts.growth("Tcp", "EstabResets")?.by;
    let opens = facts.growth("Tcp", "ActiveOpens")?.by + facts.growth("Tcp", "PassiveOpens")?.by;
    let other = |table, name| facts.growth(table, name).ok().map(|growth| growth.by);
    // `resets` may be larger than `opens`, because a connection that was reset may have been opened
    // before the first reading.
    let whole = opens.max(resets);
    let is_much = resets >= limits.at_least && limits.share_info.is_reached(resets, whole);
    let text = format!(
        "{resets} connections ended by a reset ({:.1}/s), while {opens} were opened",
        facts.per_second(resets)
    );
    let finding = if is_much {
        Finding::new(Level::Info, format!("{text}: {}", percent(resets, whole)))
            .advice(
                "The measured numbers show which side resets connections, and why. out_rsts counts \
                 the resets that this side sent.",
            )
            .command("nstat -az TcpEstabResets TcpOutRsts 'TcpExtTCPAbort*'".to_owned())
    } else {
        ok(text)
    };
    Ok(vec![
        finding
            .number("resets", resets)
            .number("resets_per_second", rounded(facts.per_second(resets)))
            .number("opened", opens)
            .number("out_rsts", other("Tcp", "OutRsts"))
            .number("abort_on_close", other("TcpExt", "TCPAbortOnClose"))
            .number("abort_on_data", other("TcpExt", "TCPAbortOnData"))
            .number("abort_on_timeout", other("TcpExt", "TCPAbortOnTimeout"))
            .source(
                "/proc/net/snmp Tcp EstabResets, ActiveOpens, PassiveOpens, OutRsts; \
                 /proc/net/netstat TcpExt TCPAbortOn*",
            ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels};

    #[test]
    fn r1_needs_a_share_and_a_minimum() {
        for (resets, opens, level) in [
            (0, 0, Level::Ok),
            (9, 9, Level::Ok),
            (10, 100, Level::Info),
            (10, 101, Level::Ok),
            (10, 0, Level::Info),
        ] {
            let scene = Scene::default()
                .counter("Tcp EstabResets", 0, resets)
                .counter("Tcp ActiveOpens", 3, 3 + opens)
                .counter("Tcp PassiveOpens", 0, 0);
            assert_eq!(levels(&R1, &scene), [level], "{resets} {opens}");
        }
    }
}
