//! P2 forecasts how many local ports will be in use, if connections close at the rate of the last
//! ten seconds.

use std::time::Duration;

use super::{Choice, SOURCE, advice, arrow, refuse_loss, widen};
use crate::doctor::{
    Thresholds,
    facts::{
        Facts, Known, SocketTable,
        sockets::{AGE, AGES, Destination, PortUse, Setting, TIME_WAIT},
    },
    rules::{Finding, Level, MAX_FINDINGS, Rule, ok, or_ok, rounded},
};

pub(in crate::doctor::rules) const P2: Rule = Rule {
    id: "P2",
    family: "ports",
    title: "forecast of local ports per destination",
    means: "This host opens and closes connections to one destination very fast. Each closed \
            connection stays in TIME_WAIT for 60 s and keeps its local port. Within a minute all \
            or nearly all local ports will be in use.",
    knows: "The rule counts, per destination, the sockets that entered TIME_WAIT in the last 10 s. \
            The remaining time of a socket shows when the socket entered TIME_WAIT. The rule \
            assumes that sockets keep entering TIME_WAIT at this rate, and computes how many ports \
            will be in use. The rule reports a destination if the last port will be taken within a \
            minute. The rule also reports a destination if a large share of its ports will stay in \
            use.",
    thresholds: &["ports.forecast_warn"],
    reference: "net/ipv4/tcp_minisocks.c: tcp_time_wait; include/net/tcp.h: TCP_TIMEWAIT_LEN",
    help: "Keep connections open and share them, or let the other side close first. tcp_tw_reuse=1 \
           lets connect() reuse ports in TIME_WAIT if both ends use timestamps.",
    check: p2,
};

/// Returns the seconds until no local port is free, if connections close at the rate of the last
/// ten seconds.
///
/// Returns `None` if a port is always free, because sockets leave TIME_WAIT as fast as sockets
/// enter TIME_WAIT.
fn seconds_left(ports: &PortUse, capacity: u64) -> Option<f64> {
    let entering = ports.time_wait[0] as f64;
    let others = ports.sockets.saturating_sub(ports.in_time_wait()) as f64;
    // An age group covers ten seconds. The forecast assumes that in each period of ten seconds the
    // oldest age group leaves TIME_WAIT, and that as many sockets enter TIME_WAIT as in the last
    // ten seconds.
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

/// A forecast of how many local ports will be in use for one destination.
struct Forecast<'a> {
    to: &'a Destination,
    ports: &'a PortUse,
    /// The number of sockets that enter TIME_WAIT per second.
    rate: f64,
    /// How many seconds a socket in TIME_WAIT blocks its local port.
    hold: f64,
    /// The number of ports that are in use after the rate has been constant for `hold` seconds.
    steady: f64,
    /// The seconds until no local port is free, or `None` if a port is always free.
    left: Option<f64>,
}

impl<'a> Forecast<'a> {
    fn of(to: &'a Destination, ports: &'a PortUse, choice: &Choice, reuse_delay: Duration) -> Self {
        let (hold, left) = if choice.may_reuse(to) {
            (reuse_delay, None)
        } else {
            (TIME_WAIT, seconds_left(ports, choice.ports))
        };
        let hold = hold.as_secs_f64();
        let rate = ports.time_wait[0] as f64 / AGE.as_secs_f64();
        let others = ports.sockets - ports.in_time_wait();
        Self { to, ports, rate, hold, steady: others as f64 + rate * hold, left }
    }

    fn finding(&self, choice: &Choice, sockets: &SocketTable) -> Finding {
        let Self { to, ports, rate, hold, steady, left } = *self;
        let of = format!("{} local ports", choice.ports);
        let what = match left {
            Some(0.0) => format!("all {of} are in use now"),
            Some(seconds) => format!("all {of} will be in use in {seconds:.0} s"),
            None => format!("{steady:.0} of {of} will be in use"),
        };
        let advice = advice(choice);
        Finding::new(
            Level::Warn,
            format!("{}: this side closes {rate:.1} connections/s first, so {what}", arrow(to)),
        )
        .number("ports", choice.ports)
        .number("sockets", ports.sockets)
        .number("time_wait", ports.in_time_wait())
        .number("time_wait_entries_per_second", rounded(rate))
        .number("hold_seconds", rounded(hold))
        .number("expected", steady.round())
        .number("seconds_left", left.map(rounded))
        .number("owner", sockets.owner(ports.holder))
        .advice(if choice.may_reuse(to) {
            advice
        } else {
            format!(
                "{advice} Another way is to let connect() reuse ports in TIME_WAIT, which needs \
                 timestamps at both ends."
            )
        })
        .command(if choice.reuse == 1 || !choice.timestamps {
            widen(choice)
        } else {
            Some("sysctl -w net.ipv4.tcp_tw_reuse=1".into())
        })
        .source(SOURCE)
    }
}

fn p2(facts: &Facts, thresholds: &Thresholds) -> Known<Vec<Finding>> {
    let sockets = facts.sockets()?;
    let choice = Choice::of(facts, sockets)?;
    refuse_loss(sockets, &choice)?;
    let reuse_delay = Setting::of(&facts.sysctls).reuse_delay;
    let much = thresholds.ports.forecast_warn.0 * choice.ports as f64;
    let mut most = 0.0_f64;
    let mut found = Vec::new();
    for (to, ports) in &sockets.destinations {
        let forecast = Forecast::of(to, ports, &choice, reuse_delay);
        most = most.max(forecast.steady);
        if forecast.rate > 0.0 && (forecast.steady >= much || forecast.left.is_some()) {
            found.push(forecast);
        }
    }
    found.sort_by(|a, b| b.steady.total_cmp(&a.steady).then_with(|| a.to.cmp(b.to)));
    let findings = found.iter().take(MAX_FINDINGS);
    let findings = findings.map(|forecast| forecast.finding(&choice, sockets)).collect();
    Ok(or_ok(findings, || {
        ok(format!(
            "at the present rate no destination will use more than {most:.0} of {} local ports",
            choice.ports
        ))
        .number("ports", choice.ports)
        .number("expected", most.round())
        .source(SOURCE)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{closed, open, ten_ports};
    use super::*;
    use crate::doctor::rules::testing::{levels, only};

    #[test]
    fn p2_computes_when_the_last_port_is_taken() {
        for (ports, capacity, expected) in [
            // No connection closes.
            (open(5), 10, None),
            // One socket per second enters TIME_WAIT, no socket leaves TIME_WAIT for 50 s, and five
            // ports are free.
            (closed([10, 0, 0, 0, 0, 0], 1), 15, Some(5.0)),
            // In each period as many sockets leave TIME_WAIT as enter TIME_WAIT.
            (closed([10, 10, 10, 10, 10, 10], 1), 61, None),
            (closed([10, 10, 10, 10, 10, 10], 1), 60, Some(0.0)),
            // In the first ten seconds ten old sockets leave TIME_WAIT and ten enter. After that no
            // socket leaves TIME_WAIT, and the number of sockets grows.
            (closed([10, 0, 0, 0, 0, 10], 1), 40, Some(30.0)),
            (PortUse { sockets: 30, ..closed([10, 0, 0, 0, 0, 0], 1) }, 45, Some(15.0)),
        ] {
            assert_eq!(seconds_left(&ports, capacity), expected, "{ports:?} {capacity}");
        }
    }

    #[test]
    fn p2_reports_from_its_threshold_on() {
        for (entered, others, level) in
            [(1, 0, Level::Ok), (1, 1, Level::Warn), (2, 0, Level::Warn), (0, 9, Level::Ok)]
        {
            let mut ports = closed([entered, 0, 0, 0, 0, 0], entered);
            ports.sockets += others;
            assert_eq!(levels(&P2, &ten_ports(ports)), [level], "{entered} {others}");
        }
        // 50 s ago connections closed at a higher rate, and the time-wait sockets of these
        // connections still hold ports.
        let burst = closed([1, 0, 0, 0, 0, 8], 0);
        assert_eq!(levels(&P2, &ten_ports(burst)), [Level::Ok]);
        let burst = closed([1, 0, 0, 8, 0, 0], 0);
        assert_eq!(levels(&P2, &ten_ports(burst)), [Level::Warn]);
        let finding = only(&P2, &ten_ports(closed([2, 0, 0, 0, 0, 0], 0)));
        assert_eq!(finding.numbers["seconds_left"], 40.0);
        assert_eq!(finding.command.as_deref(), Some("sysctl -w net.ipv4.tcp_tw_reuse=1"));
        // connect() may reuse a port after one second, so two closes in ten seconds hold less than
        // one port on average.
        let reuse = ten_ports(closed([2, 0, 0, 0, 0, 0], 0)).with("net.ipv4.tcp_tw_reuse", "1");
        assert_eq!(levels(&P2, &reuse), [Level::Ok]);
    }
}
