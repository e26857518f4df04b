//! Exports the number of sockets of each network namespace. The number of series is limited.

use std::collections::BTreeMap;

use tcpstate_common::State;

use super::metric::{Kind, Metrics};
use crate::report::NamespaceRow;

/// The name of one network namespace, and the number of sockets of this namespace in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketsOf {
    name: String,
    states: [Option<i64>; 10],
}

/// The network namespaces that have a separate series. At most `max` namespaces have a separate
/// series. The sockets of all other namespaces are summed in the series `other`.
///
/// A namespace keeps its series until the namespace is deleted, even if a namespace without a
/// separate series has more sockets.
#[derive(Clone, Debug)]
pub struct Series {
    max: usize,
    own: BTreeMap<u64, SocketsOf>,
    other: SocketsOf,
}

impl Series {
    /// Creates series for at most `max` namespaces.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, own: BTreeMap::new(), other: SocketsOf::default() }
    }

    /// Updates the number of sockets of each namespace from the rows of a snapshot. New namespaces
    /// get series in the order of their inodes.
    pub fn update(&mut self, rows: &[NamespaceRow]) {
        // Add the numbers of sockets of all rows that have equal inodes. A deleted namespace and a
        // new namespace may have equal inodes.
        let mut now: BTreeMap<u64, SocketsOf> = BTreeMap::new();
        for row in rows {
            let sockets = now.entry(row.netns).or_default();
            sockets.add(&row.states.map(|gauge| gauge.current));
            if let Some(name) = &row.name {
                sockets.name.clone_from(name);
            }
        }
        self.own.retain(|inode, _| now.contains_key(inode));
        self.other = SocketsOf { states: [Some(0); 10], ..SocketsOf::default() };
        for (inode, sockets) in now {
            if self.own.contains_key(&inode) || self.own.len() < self.max {
                self.own.insert(inode, sockets);
            } else {
                self.other.add(&sockets.states);
            }
        }
    }

    pub(super) fn show(&self, all: &mut Metrics) {
        let help = "TCP sockets by network namespace and state. Namespaces above the limit of series are summed as other.";
        let metric = all.metric(Kind::Gauge, "tcpstate_netns_connections", help);
        let own = self.own.iter().map(|(inode, sockets)| (inode.to_string(), sockets));
        for (netns, sockets) in own.chain([("other".to_owned(), &self.other)]) {
            for (state, &count) in State::GAUGES.iter().zip(&sockets.states) {
                let labels =
                    [("netns", &*netns), ("name", &*sockets.name), ("state", state.label())];
                metric.known(&labels, count);
            }
        }
    }
}

impl SocketsOf {
    /// Adds the number of a namespace's sockets in each state to the totals. If a number is
    /// unknown, the total of the state becomes unknown.
    fn add(&mut self, states: &[Option<i64>; 10]) {
        for (sum, &count) in self.states.iter_mut().zip(states) {
            *sum = count.map(|count| sum.unwrap_or(0) + count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{Gauge, TimeWait},
        view::metrics::{Format, text},
    };

    fn row(netns: u64, sockets: i64) -> NamespaceRow {
        NamespaceRow {
            netns,
            name: Some(format!("n{netns}")),
            is_gone: false,
            states: [Gauge { current: Some(sockets), ..Gauge::default() }; 10],
            time_wait: TimeWait::default(),
        }
    }

    /// Returns one line `netns name sockets` for each series, with the number of sockets in one
    /// state.
    fn lines(series: &Series) -> Vec<String> {
        let mut all = Metrics::default();
        series.show(&mut all);
        let text = text(&all.all(), Format::Prometheus);
        let listen = text.lines().filter(|line| line.contains("state=\"listen\""));
        listen.map(|line| line.replace("tcpstate_netns_connections", "")).collect()
    }

    #[test]
    fn namespaces_above_the_limit_are_in_other_and_earlier_ones_keep_their_series() {
        let mut series = Series::new(2);
        series.update(&[row(7, 1), row(9, 2)]);
        series.update(&[row(3, 10), row(7, 1), row(9, 2), row(11, 20)]);
        assert_eq!(
            lines(&series),
            [
                r#"{netns="7",name="n7",state="listen"} 1"#,
                r#"{netns="9",name="n9",state="listen"} 2"#,
                r#"{netns="other",name="",state="listen"} 30"#,
            ]
        );
        series.update(&[row(3, 10), row(9, 2), row(11, 20)]);
        assert_eq!(
            lines(&series),
            [
                r#"{netns="3",name="n3",state="listen"} 10"#,
                r#"{netns="9",name="n9",state="listen"} 2"#,
                r#"{netns="other",name="",state="listen"} 20"#,
            ]
        );
    }

    #[test]
    fn a_removed_namespace_and_a_new_one_with_its_inode_share_a_series() {
        let mut series = Series::new(2);
        series.update(&[NamespaceRow { is_gone: true, ..row(7, 5) }, row(7, 1)]);
        assert_eq!(
            lines(&series),
            [
                r#"{netns="7",name="n7",state="listen"} 6"#,
                r#"{netns="other",name="",state="listen"} 0"#,
            ]
        );
    }
}
