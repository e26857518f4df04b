//! Sockets by some part of the host, with a bound on how many series there may be.

use std::collections::BTreeMap;

use tcpstate_common::State;

use super::metric::{Kind, Metrics};
use crate::report::NamespaceRow;

/// The sockets of one network namespace: by what people know it, and how many in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketsOf {
    name: String,
    states: [Option<i64>; 10],
}

/// Network namespaces, each with series of its own, up to a limit; the sockets of all others are added up.
///
/// Who has series keeps them until it is gone: so no series jumps between a namespace's number and nothing as others grow.
#[derive(Clone, Debug)]
pub struct Series {
    most: usize,
    own: BTreeMap<u64, SocketsOf>,
    other: SocketsOf,
}

impl Series {
    /// For so many namespaces at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, own: BTreeMap::new(), other: SocketsOf::default() }
    }

    /// The state of things by these rows. Of those that are new, the ones with the smallest inodes come first.
    pub fn update(&mut self, rows: &[NamespaceRow]) {
        // One that is gone may have the same inode as one that is new.
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
            if self.own.contains_key(&inode) || self.own.len() < self.most {
                self.own.insert(inode, sockets);
            } else {
                self.other.add(&sockets.states);
            }
        }
    }

    pub(super) fn show(&self, all: &mut Metrics) {
        let help = "TCP sockets in each state by network namespace; other is all those beyond the limit of series.";
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
    /// What can't be known of one can't be known of the sum.
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

    /// `netns name sockets` of one state.
    fn lines(series: &Series) -> Vec<String> {
        let mut all = Metrics::default();
        series.show(&mut all);
        let text = text(&all.all(), Format::Prometheus);
        let listen = text.lines().filter(|line| line.contains("state=\"listen\""));
        listen.map(|line| line.replace("tcpstate_netns_connections", "")).collect()
    }

    #[test]
    fn who_is_beyond_the_limit_is_in_other_and_who_was_first_keeps_its_series() {
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
    fn a_namespace_that_is_gone_and_a_new_one_of_its_number_share_a_series() {
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
