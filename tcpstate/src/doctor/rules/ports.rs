//! Local ports: how many of those that `connect()` may choose from are in use, for one source and destination.

use super::{Finding, Level, MOST_FINDINGS, Rule, ok, or_ok, percent, plural, rounded};
use crate::doctor::{
    Thresholds,
    facts::{
        Facts, Known, Missing, SocketTable,
        sockets::{AGE, AGES, Destination, PortUse, TIME_WAIT},
        sysctls::{PortSet, Range},
    },
};

const SOURCE: &str = "sock_diag; /proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports, tcp_tw_reuse, tcp_timestamps";

pub(super) const P1: Rule = Rule {
    id: "P1",
    family: "ports",
    title: "local ports to one destination",
    means: "Connections from one address to one address and port need a local port each. When none is left, connect() fails with EADDRNOTAVAIL, and it takes ever longer the fewer are left.",
    knows: "Sockets in any state with a port of ip_local_port_range, by source, destination and destination port, in proportion to the ports that connect() tries: those of the range, an even number of them, without reserved ports and without those that somebody listens on. Sockets in TIME_WAIT that may be used again (T5) do not count.",
    thresholds: &["ports.used_warn", "ports.used_crit"],
    reference: "net/ipv4/inet_hashtables.c: __inet_hash_connect, __inet_check_established; net/ipv4/tcp_ipv4.c: tcp_twsk_unique",
    remedy: "Keep connections open and share them (a pool, HTTP keep-alive). If that can't be, more addresses at either end, then a wider ip_local_port_range. A program that calls bind() before connect() should set IP_BIND_ADDRESS_NO_PORT.",
    check: p1,
};

pub(super) const P2: Rule = Rule {
    id: "P2",
    family: "ports",
    title: "local ports to one destination, soon",
    means: "Connections to one destination are opened and closed here so fast that its local ports will run out, or nearly, within a minute, since each stays in TIME_WAIT for a minute.",
    knows: "How many sockets to a destination entered TIME_WAIT in the last ten seconds, by what is left of their minute, and when those now in TIME_WAIT will be gone: the last port is taken within a minute, or a good part is in the end.",
    thresholds: &["ports.forecast_warn"],
    reference: "net/ipv4/tcp_minisocks.c: tcp_time_wait; include/net/tcp.h: TCP_TIMEWAIT_LEN",
    remedy: "Keep connections open and share them, or let the other side close first. tcp_tw_reuse=1 lets connect() take ports in TIME_WAIT if both ends use timestamps.",
    check: p2,
};

pub(super) const P3: Rule = Rule {
    id: "P3",
    family: "ports",
    title: "the range of local ports",
    means: "connect() prefers ports of the same parity as the first one of the range, bind() the others; with as many of one as of the other both work best, and the kernel warns otherwise. A server whose port lies in the range may find it taken by a connection when it starts.",
    knows: "ip_local_port_range, and ports in it that somebody listens on and that are not in ip_local_reserved_ports.",
    thresholds: &[],
    reference: "net/ipv4/sysctl_net_ipv4.c: set_local_port_range; Documentation/networking/ip-sysctl.rst: ip_local_reserved_ports",
    remedy: "Choose a range whose ends differ in parity; reserve the ports of servers.",
    check: p3,
};

/// What connect() may choose from.
struct Choice {
    range: Range,
    ports: u64,
    reuse: u64,
    timestamps: bool,
}

impl Choice {
    fn of(facts: &Facts, sockets: &SocketTable) -> Known<Self> {
        let range: Range = facts.sysctls.get("net.ipv4.ip_local_port_range")?;
        let reserved: PortSet =
            facts.sysctls.find("net.ipv4.ip_local_reserved_ports")?.unwrap_or_default();
        // Of an odd number, connect() leaves out one, each time.
        let mut last = range.high;
        if last > range.low && (last - range.low).is_multiple_of(2) {
            last -= 1;
        }
        let is_free = |port: &u16| !reserved.contains(*port) && !sockets.listening.contains(port);
        Ok(Self {
            range,
            ports: (range.low..=last).filter(is_free).count() as u64,
            reuse: facts.sysctls.find("net.ipv4.tcp_tw_reuse")?.unwrap_or(0),
            timestamps: facts.sysctls.find::<u64>("net.ipv4.tcp_timestamps")? != Some(0),
        })
    }

    /// Whether connect() may take a socket in TIME_WAIT to there, if the peer has timestamps.
    fn may_reuse(&self, to: &Destination) -> bool {
        let is_local = to.local.is_loopback() || to.remote.ip().is_loopback();
        self.timestamps && (self.reuse == 1 || self.reuse == 2 && is_local)
    }

    /// Ports to there that can't be had now.
    fn taken(&self, to: &Destination, ports: &PortUse) -> u64 {
        if self.may_reuse(to) {
            ports.sockets - ports.in_time_wait() + ports.young
        } else {
            ports.sockets
        }
    }
}

/// Sums that may be too small by a good part of what matters are none.
fn refuse_loss(sockets: &SocketTable, choice: &Choice) -> Known<()> {
    let lost = sockets.destinations.lost();
    if lost.saturating_mul(10) <= choice.ports {
        return Ok(());
    }
    Err(Missing {
        cause: format!(
            "too many destinations to tell apart: a sum can be too small by {lost} of {} ports",
            choice.ports
        ),
        remedy: "count those you suspect: tcpstate count --by remote --remote-port PORT".into(),
        source: "sock_diag".into(),
    })
}

fn arrow(to: &Destination) -> String {
    format!("{} -> {}", to.local, to.remote)
}

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
    let findings = pressed.iter().take(MOST_FINDINGS).map(|&(taken, to, ports)| {
        let is_crit = limits.used_crit.is_reached(taken, choice.ports);
        let level = if is_crit { Level::Crit } else { Level::Warn };
        let owner = sockets.owner(ports.holder);
        let by =
            owner.as_ref().map(|owner| format!(", by {owner} among others")).unwrap_or_default();
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
        ok(format!("no destination has more than {most} of {} local ports", choice.ports))
            .number("ports", choice.ports)
            .number("taken", most)
            .number("destinations", sockets.destinations.len())
            .source(SOURCE)
    }))
}

fn advice(choice: &Choice) -> String {
    let Range { low, high } = choice.range;
    let more = match widen(choice) {
        Some(_) => {
            "; or widen the range for all destinations, with the ports of servers in it reserved"
        }
        None => "",
    };
    format!(
        "keep connections open and share them, or use more addresses at either end (ports now {low} to {high}){more}"
    )
}

/// More ports, if there are more.
fn widen(choice: &Choice) -> Option<String> {
    let Range { low, high } = choice.range;
    // An even one, since the last one is odd.
    let lowest = low.min(1024) & !1;
    let is_all = low == lowest && high == u16::MAX;
    (!is_all).then(|| format!("sysctl -w net.ipv4.ip_local_port_range='{lowest} {}'", u16::MAX))
}

/// When the last port will be taken, if connections close as fast as they did in the last ten seconds.
///
/// None: before that happens, as many sockets leave TIME_WAIT as enter it.
fn seconds_left(ports: &PortUse, capacity: u64) -> Option<f64> {
    let entering = ports.time_wait[0] as f64;
    let others = ports.sockets.saturating_sub(ports.in_time_wait()) as f64;
    // After each tenth of a minute the oldest part is gone, and as many have come as came in the last one.
    let taken_after = |parts: usize| {
        let left: u64 = ports.time_wait[..AGES - parts].iter().sum();
        others + left as f64 + entering * parts as f64
    };
    let capacity = capacity as f64;
    if taken_after(0) >= capacity {
        return Some(0.0);
    }
    let tenths = (1..=AGES).find(|&parts| taken_after(parts) >= capacity)?;
    let (before, after) = (taken_after(tenths - 1), taken_after(tenths));
    let part = (capacity - before) / (after - before);
    Some(((tenths - 1) as f64 + part) * AGE.as_secs_f64())
}

fn p2(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let choice = Choice::of(facts, sockets)?;
    refuse_loss(sockets, &choice)?;
    let hold = |to: &Destination| {
        if choice.may_reuse(to) {
            facts.sysctls.find("net.ipv4.tcp_tw_reuse_delay").ok().flatten().unwrap_or(1000.0)
                / 1000.0
        } else {
            TIME_WAIT.as_secs_f64()
        }
    };
    let mut most = 0.0_f64;
    let mut found = Vec::new();
    for (to, ports) in &sockets.destinations {
        let rate = ports.time_wait[0] as f64 / AGE.as_secs_f64();
        let others = ports.sockets - ports.in_time_wait();
        let steady = others as f64 + rate * hold(to);
        most = most.max(steady);
        let left = if choice.may_reuse(to) { None } else { seconds_left(ports, choice.ports) };
        let is_much = steady >= thresholds.ports.forecast_warn.0 * choice.ports as f64;
        if rate > 0.0 && (is_much || left.is_some()) {
            found.push((steady, rate, left, to, ports));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.3.cmp(b.3)));
    let findings = found.iter().take(MOST_FINDINGS).map(|&(steady, rate, left, to, ports)| {
        let of = format!("of {} local ports", choice.ports);
        let what = match left {
            Some(0.0) => format!("none {of} is left now"),
            Some(seconds) => format!("none {of} will be left in {seconds:.0} s"),
            None => format!("that will hold {steady:.0} {of}"),
        };
        Finding::new(
            Level::Warn,
            format!("{}: {rate:.1} connections/s are closed here first: {what}", arrow(to)),
        )
        .number("ports", choice.ports)
        .number("sockets", ports.sockets)
        .number("time_wait", ports.in_time_wait())
        .number("time_wait_entries_per_second", rounded(rate))
        .number("hold_seconds", rounded(hold(to)))
        .number("expected", steady.round())
        .number("seconds_left", left.map(rounded))
        .number("owner", sockets.owner(ports.holder))
        .advice(if choice.may_reuse(to) {
            advice(&choice)
        } else {
            format!("{}; or let connect() use ports in TIME_WAIT again, which needs timestamps at both ends", advice(&choice))
        })
        .command(if choice.reuse == 1 || !choice.timestamps {
            widen(&choice)
        } else {
            Some("sysctl -w net.ipv4.tcp_tw_reuse=1".into())
        })
        .source(SOURCE)
    });
    Ok(or_ok(findings.collect(), || {
        ok(format!(
            "at this pace no destination will hold more than {most:.0} of {} local ports",
            choice.ports
        ))
        .number("ports", choice.ports)
        .number("expected", most.round())
        .source(SOURCE)
    }))
}

fn p3(facts: &Facts, _: &Thresholds) -> Known<Vec<Finding>> {
    let range: Range = facts.sysctls.get("net.ipv4.ip_local_port_range")?;
    let Range { low, high } = range;
    let source = "/proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports; sock_diag";
    let mut findings = Vec::new();
    if low % 2 == high % 2 {
        let high = if high < u16::MAX { high + 1 } else { high - 1 };
        findings.push(
            Finding::new(Level::Info, format!("the local port range {low} to {} has ends of equal parity: each connect() leaves out one port", range.high))
                .number("low", low)
                .number("high", range.high)
                .advice("make one end even and the other odd")
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
        let ports: Vec<String> = inside.iter().take(MOST_FINDINGS).map(u16::to_string).collect();
        let ports = ports.join(",");
        let before = facts.sysctls.text("net.ipv4.ip_local_reserved_ports")?.unwrap_or_default();
        let all = if before.is_empty() { ports.clone() } else { format!("{before},{ports}") };
        findings.push(
            Finding::new(Level::Info, format!("{number} port{} with a listener in the range of local ports, {first} among them: a connection may have it when the server starts", plural(number)))
                .number("listening_in_range", number)
                .number("ports", ports)
                .advice("reserve them, if they are always the same")
                .command(format!("sysctl -w net.ipv4.ip_local_reserved_ports='{all}'"))
                .source(source),
        );
    }
    Ok(or_ok(findings, || {
        ok(format!("local ports {low} to {high}, and nobody listens on one that is not reserved"))
            .number("low", low)
            .number("high", high)
            .source(source)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::testing::{Scene, levels, only};

    fn to(remote: &str) -> Destination {
        Destination {
            local: "10.0.0.1".parse().expect("an address"),
            remote: remote.parse().expect("an address with a port"),
        }
    }

    /// Ten ports, and so many sockets to one destination.
    fn ten_ports(ports: PortUse) -> Scene {
        let mut scene = Scene::default().with("net.ipv4.ip_local_port_range", "40000 40009");
        *scene.sockets.destinations.of(to("10.0.0.9:443")) = ports;
        scene
    }

    fn open(sockets: u64) -> PortUse {
        PortUse { sockets, ..PortUse::default() }
    }

    fn closed(time_wait: [u64; AGES], young: u64) -> PortUse {
        PortUse { sockets: time_wait.iter().sum(), time_wait, young, holder: None }
    }

    #[test]
    fn p1_speaks_up_from_its_thresholds_on() {
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
    fn p1_counts_the_ports_that_there_really_are() {
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
    fn p1_leaves_out_what_connect_may_use_again() {
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
    fn p1_tells_the_worst_ten_and_how_many_there_are() {
        let mut scene = ten_ports(open(10));
        for port in 1..=20 {
            *scene.sockets.destinations.of(to(&format!("10.0.0.9:{port}"))) = open(7);
        }
        let findings = scene.check(&P1);
        assert_eq!(findings.len(), MOST_FINDINGS);
        assert_eq!(findings[0].level, Level::Crit);
        assert_eq!(findings[0].numbers["destinations_over_threshold"], 21);
    }

    #[test]
    fn without_the_range_there_is_no_share() {
        let scene = ten_ports(open(10)).without("net.ipv4.ip_local_port_range");
        for rule in [&P1, &P2, &P3] {
            assert_eq!(levels(rule, &scene), [Level::Unknown]);
        }
    }

    #[test]
    fn p2_foresees_when_the_last_port_is_taken() {
        for (ports, capacity, expected) in [
            // Nothing closes.
            (open(5), 10, None),
            // One a second, and none leaves for a minute: five are free.
            (closed([10, 0, 0, 0, 0, 0], 1), 15, Some(5.0)),
            // As many leave as enter.
            (closed([10, 10, 10, 10, 10, 10], 1), 61, None),
            (closed([10, 10, 10, 10, 10, 10], 1), 60, Some(0.0)),
            // The old ones go first, then it fills.
            (closed([10, 0, 0, 0, 0, 10], 1), 40, Some(30.0)),
            (PortUse { sockets: 30, ..closed([10, 0, 0, 0, 0, 0], 1) }, 45, Some(15.0)),
        ] {
            assert_eq!(seconds_left(&ports, capacity), expected, "{ports:?} {capacity}");
        }
    }

    #[test]
    fn p2_speaks_up_from_its_threshold_on() {
        for (entered, others, level) in
            [(1, 0, Level::Ok), (1, 1, Level::Warn), (2, 0, Level::Warn), (0, 9, Level::Ok)]
        {
            let mut ports = closed([entered, 0, 0, 0, 0, 0], entered);
            ports.sockets += others;
            assert_eq!(levels(&P2, &ten_ports(ports)), [level], "{entered} {others}");
        }
        // What was closed faster before holds its ports still.
        let burst = closed([1, 0, 0, 0, 0, 8], 0);
        assert_eq!(levels(&P2, &ten_ports(burst)), [Level::Ok]);
        let burst = closed([1, 0, 0, 8, 0, 0], 0);
        assert_eq!(levels(&P2, &ten_ports(burst)), [Level::Warn]);
        let finding = only(&P2, &ten_ports(closed([2, 0, 0, 0, 0, 0], 0)));
        assert_eq!(finding.numbers["seconds_left"], 40.0);
        assert_eq!(finding.command.as_deref(), Some("sysctl -w net.ipv4.tcp_tw_reuse=1"));
        // Where they can be used again after a second, two in ten seconds are nothing.
        let reuse = ten_ports(closed([2, 0, 0, 0, 0, 0], 0)).with("net.ipv4.tcp_tw_reuse", "1");
        assert_eq!(levels(&P2, &reuse), [Level::Ok]);
    }

    #[test]
    fn p3_is_about_parity_and_servers_in_the_range() {
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
