//! Reads the numbers that only a list of sockets shows, for exporters.
//!
//! ```text
//! drops   the packets that listeners dropped, by local port
//! ports   the local ports that connections use
//! ```

mod drops;
mod ports;

use std::time::{Duration, Instant};

use self::drops::Drops;
use crate::report::{ListenDrops, LocalPorts};

/// The minimum time between two lists of the listeners.
const DROPS_INTERVAL: Duration = Duration::from_millis(400);
/// A list of the listeners that costs less CPU time is made for each answer to an exporter.
const CHEAP: Duration = Duration::from_millis(5);
/// A list may use this share of one CPU: one thousandth.
const PAUSE_PER_COST: u32 = 1000;

/// The results of the lists of sockets.
pub struct Survey {
    drops: Drops,
    ports: Option<LocalPorts>,
    drops_due: Instant,
    /// The CPU time of the last list of the listeners.
    drops_cost: Duration,
    ports_due: Instant,
    /// The number of audits at the last list of local ports.
    audits: Option<u64>,
}

/// The lists that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The list of listeners.
    pub drops: bool,
    /// The list of the sockets that use local ports.
    pub ports: bool,
}

/// A list of the sockets of the counted network namespaces.
#[derive(Debug)]
pub struct List {
    due: Due,
    drops: Option<drops::List>,
    ports: Option<LocalPorts>,
}

impl List {
    pub(super) fn new(due: Due) -> Self {
        Self { due, drops: None, ports: None }
    }

    /// Adds the sockets of the calling thread's network namespace.
    pub(super) fn add_here(&mut self) {
        if self.due.drops {
            drops::add_here(&mut self.drops);
        }
        if self.due.ports
            && let Some(ports) = ports::here()
        {
            self.ports = Some(self.ports.map_or(ports, |fullest| fullest.fuller(ports)));
        }
    }
}

impl Survey {
    /// Begins with the drops of the listeners that exist now. At most `max` ports have a number of
    /// their own.
    #[must_use]
    pub fn new(max: usize, now: Instant) -> Self {
        Self {
            drops: Drops::new(max),
            ports: None,
            drops_due: now,
            drops_cost: Duration::ZERO,
            ports_due: now,
            audits: None,
        }
    }

    /// Returns the lists that are due after `audits` audits. Local ports are listed after an audit.
    /// `is_asked` tells whether an answer to an exporter needs the numbers.
    #[must_use]
    pub fn due(&self, audits: u64, now: Instant, is_asked: bool) -> Due {
        Due {
            drops: now >= self.drops_due || is_asked && self.drops_cost < CHEAP,
            ports: self.audits != Some(audits) && now >= self.ports_due,
        }
    }

    /// Takes over a list. `cost` is the CPU time of the list.
    pub fn take(&mut self, list: List, audits: u64, cost: Duration, now: Instant) {
        let pause = cost * PAUSE_PER_COST;
        if let Some(listed) = list.drops {
            self.drops.take(&listed);
        }
        if list.due.drops {
            (self.drops_due, self.drops_cost) = (now + DROPS_INTERVAL.max(pause), cost);
        }
        if list.due.ports {
            self.ports = list.ports.or(self.ports);
            (self.audits, self.ports_due) = (Some(audits), now + pause);
        }
    }

    /// Returns the drops of listeners, if the kernel lists them.
    #[must_use]
    pub fn drops(&self) -> Option<&ListenDrops> {
        self.drops.shown()
    }

    /// Returns the local ports at the last audit, if they are known.
    #[must_use]
    pub fn ports(&self) -> Option<LocalPorts> {
        self.ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_wait_a_thousand_times_their_cost() {
        let now = Instant::now();
        let mut survey = Survey::new(9, now);
        let due = Due { drops: true, ports: true };
        assert_eq!(survey.due(0, now, false), due);
        survey.take(List::new(due), 0, Duration::from_millis(2), now);
        let later = now + Duration::from_millis(1999);
        assert_eq!(survey.due(1, later, false), Due { drops: false, ports: false });
        assert_eq!(survey.due(1, later, true), Due { drops: true, ports: false }, "it is cheap");
        let later = now + Duration::from_secs(2);
        assert_eq!(survey.due(1, later, false), due);
        assert_eq!(survey.due(0, later, false), Due { ports: false, ..due }, "no audit since");
        survey.take(List::new(due), 1, Duration::from_millis(5), later);
        assert_eq!(survey.due(1, later, true), Due { drops: false, ports: false });
    }
}
