//! Local ports: how many of those that `connect()` may choose from are in use, for one source and destination.

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

const SOURCE: &str = "sock_diag; /proc/sys/net/ipv4/ip_local_port_range, ip_local_reserved_ports, tcp_tw_reuse, tcp_timestamps";

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
        help: "count those you suspect: tcpstate count --by remote --remote-port PORT".into(),
        source: "sock_diag".into(),
    })
}

fn arrow(to: &Destination) -> String {
    format!("{} -> {}", to.local, to.remote)
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

#[cfg(test)]
mod tests {
    use super::{
        testing::{open, ten_ports},
        *,
    };
    use crate::doctor::rules::{Level, testing::levels};

    #[test]
    fn without_the_range_there_is_no_share() {
        let scene = ten_ports(open(10)).without("net.ipv4.ip_local_port_range");
        for rule in [&P1, &P2, &P3] {
            assert_eq!(levels(rule, &scene), [Level::Unknown]);
        }
    }
}
