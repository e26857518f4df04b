//! Rules about local ports. The rules compare the number of ports that `connect()` may choose from
//! with the number of ports in use for one source and destination.

mod forecast;
mod in_use;
mod range;
#[cfg(test)]
mod testing;

pub(super) use self::{forecast::P2, in_use::P1, range::P3};
use crate::doctor::facts::{
    Facts, Known, Missing, SocketTable,
    sockets::{Destination, PortUse},
    sysctls::{PortSet, Range},
};

const SOURCE: &str = "sock_diag; /proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports, \
                      tcp_tw_reuse, tcp_timestamps";

/// The ports that connect() may choose from, and the sysctls that decide which ports connect() may
/// reuse.
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
        // connect() tries an even number of ports. If the range has an odd number of ports,
        // connect() leaves out one port.
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

    /// Returns whether connect() to this destination may reuse the ports of sockets in TIME_WAIT,
    /// if the peer uses timestamps.
    fn may_reuse(&self, to: &Destination) -> bool {
        let is_local = to.local.is_loopback() || to.remote.ip().is_loopback();
        self.timestamps && (self.reuse == 1 || self.reuse == 2 && is_local)
    }

    /// Returns the number of ports that connect() cannot use for this destination now.
    fn taken(&self, to: &Destination, ports: &PortUse) -> u64 {
        if self.may_reuse(to) {
            ports.sockets - ports.in_time_wait() + ports.young
        } else {
            ports.sockets
        }
    }
}

/// Returns an error if a count in `destinations` may be too low by more than a tenth of the
/// available ports.
fn refuse_loss(sockets: &SocketTable, choice: &Choice) -> Known<()> {
    let lost = sockets.destinations.lost();
    if lost.saturating_mul(10) <= choice.ports {
        return Ok(());
    }
    Err(Missing {
        cause: format!(
            "there are too many destinations, so a count may be too low by {lost} of {} ports",
            choice.ports
        ),
        help: "Count one destination port: tcpstate count --by remote --remote-port PORT".into(),
        source: "sock_diag".into(),
    })
}

fn arrow(to: &Destination) -> String {
    format!("{} -> {}", to.local, to.remote)
}

fn advice(choice: &Choice) -> String {
    let Range { low, high } = choice.range;
    let range = match widen(choice) {
        Some(_) => format!(
            "Another way is to widen the range of local ports, now {low} to {high}, after you \
             reserve the ports of servers in the new range."
        ),
        None => format!("The range of local ports cannot be wider than {low} to {high}."),
    };
    format!(
        "Keep connections open and share them, or use more source or destination addresses. \
         {range}"
    )
}

/// Returns the command that widens the range of local ports, or `None` if the range cannot be
/// wider.
fn widen(choice: &Choice) -> Option<String> {
    let Range { low, high } = choice.range;
    // The new range ends with the odd port 65535. An even first port gives the range an even number
    // of ports.
    let lowest = low.min(1024) & !1;
    let is_all = low == lowest && high == u16::MAX;
    (!is_all).then(|| format!("sysctl -w net.ipv4.ip_local_port_range='{lowest} {}'", u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{open, ten_ports},
        *,
    };
    use crate::doctor::rules::{Level, testing::levels};

    #[test]
    fn rules_are_unknown_without_the_range() {
        let scene = ten_ports(open(10)).without("net.ipv4.ip_local_port_range");
        for rule in [&P1, &P2, &P3] {
            assert_eq!(levels(rule, &scene), [Level::Unknown]);
        }
    }
}
