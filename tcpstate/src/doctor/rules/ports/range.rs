//! P3 reports the range of local ports, and the listeners whose port is in this range.

use crate::doctor::{
    Thresholds,
    facts::{
        Facts, Known,
        sysctls::{PortSet, Range},
    },
    rules::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, plural},
};

pub(in crate::doctor::rules) const P3: Rule = Rule {
    id: "P3",
    family: "ports",
    title: "range of local ports",
    means: "If the first port of the range is even, connect() prefers even ports and bind() \
            prefers odd ports. If the first port is odd, connect() prefers odd ports and bind() \
            prefers even ports. The range should contain as many odd ports as even ports. If it \
            does not, the kernel prints a warning. A server whose port is in the range may fail to \
            start, because a connection may use the port.",
    knows: "The rule reads ip_local_port_range. The rule looks for ports in the range that have a \
            listener and are not in ip_local_reserved_ports.",
    thresholds: &[],
    reference: "net/ipv4/sysctl_net_ipv4.c: set_local_port_range; \
                Documentation/networking/ip-sysctl.rst: ip_local_reserved_ports",
    help: "Choose a range with one even end and one odd end. Reserve the ports of servers with \
           ip_local_reserved_ports.",
    check: p3,
};

/// The function is long because it contains every text of the finding.
fn p3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let range: Range = facts.sysctls.get("net.ipv4.ip_local_port_range")?;
    let Range { low, high } = range;
    let source = "/proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports; sock_diag";
    let mut findings = Vec::new();
    if low % 2 == high % 2 {
        let high = if high < u16::MAX { high + 1 } else { high - 1 };
        findings.push(
            Finding::new(
                Level::Info,
                format!(
                    "the ends of the local port range ({low} and {}) have equal parity (both are \
                     even or both are odd): each connect() skips one port",
                    range.high
                ),
            )
            .number("low", low)
            .number("high", range.high)
            .advice("Make one end even and the other end odd.")
            .command(format!("sysctl -w net.ipv4.ip_local_port_range='{low} {high}'"))
            .source(source),
        );
    }
    let reserved: PortSet =
        facts.sysctls.find("net.ipv4.ip_local_reserved_ports")?.unwrap_or_default();
    let mut inside: Vec<u16> = facts
        .sockets()?
        .listening
        .iter()
        .copied()
        .filter(|port| (low..=high).contains(port) && !reserved.contains(*port))
        .collect();
    inside.sort_unstable();
    if let Some(first) = inside.first() {
        let number = inside.len() as u64;
        let ports: Vec<String> = inside.iter().take(MAX_FINDINGS).map(u16::to_string).collect();
        let ports = ports.join(",");
        let before = facts.sysctls.text("net.ipv4.ip_local_reserved_ports")?.unwrap_or_default();
        let all = if before.is_empty() { ports.clone() } else { format!("{before},{ports}") };
        findings.push(
            Finding::new(
                Level::Info,
                format!(
                    "{number} listening port{} in the range of local ports, for example {first}: a \
                     connection may use such a port when the server starts",
                    plural(number)
                ),
            )
            .number("listening_in_range", number)
            .number("ports", ports)
            .advice("Reserve the ports if the servers always use them.")
            .command(format!("sysctl -w net.ipv4.ip_local_reserved_ports='{all}'"))
            .source(source),
        );
    }
    Ok(or_ok(findings, || {
        ok(format!("local ports {low} to {high}, without a listener on an unreserved port"))
            .number("low", low)
            .number("high", high)
            .source(source)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, only};

    #[test]
    fn p3_checks_parity_and_listeners_in_the_range() {
        for (range, listening, reserved, expected) in [
            ("32768 60999", None, "", vec![Level::Ok]),
            ("32768 61000", None, "", vec![Level::Info]),
            ("32768 60999", Some(8080), "", vec![Level::Ok]),
            ("32768 60999", Some(40000), "", vec![Level::Info]),
            ("32768 60999", Some(40000), "40000", vec![Level::Ok]),
            ("32768 61000", Some(40000), "", vec![Level::Info, Level::Info]),
        ] {
            let mut scene = Scene::default()
                .with("net.ipv4.ip_local_port_range", range)
                .with("net.ipv4.ip_local_reserved_ports", reserved);
            scene.sockets.listening.extend(listening);
            assert_eq!(levels(&P3, &scene), expected, "{range} {listening:?} {reserved}");
        }
        let even = Scene::default().with("net.ipv4.ip_local_port_range", "1025 65535");
        let command = only(&P3, &even).command;
        assert_eq!(command.as_deref(), Some("sysctl -w net.ipv4.ip_local_port_range='1025 65534'"));
    }
}
