//! Exports histograms of the durations of states, handshakes and connections. If sockets are
//! grouped, each group has its own histograms.
//!
//! The kernel half has eight buckets for each power of two, and the metrics have one bucket for
//! each power of two. The upper bound of each metric bucket is also the upper bound of a kernel
//! bucket, so each kernel bucket belongs to exactly one metric bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use tcpstate_common::{
    State,
    histogram::{By, bucket_end},
};

use super::metric::{Distribution, Kind, Metric, Metrics};
use crate::{
    report::{Group, Histogram, Histograms, Hooks, Of, Provider, SocketKind, Tally},
    view::hist::{Labels, by_label, group_text},
};

/// The upper bounds of the buckets in nanoseconds, as exponents of two: from 4 us to 73 minutes.
const ENDS: RangeInclusive<u32> = 12..=42;

/// The durations that were counted since tcpstate started.
#[derive(Clone, Debug)]
pub struct Durations {
    /// All histograms that the kernel half has counted since tcpstate started.
    pub histograms: Histograms,
    /// Whether to export the durations. If durations are not exported, only the number of
    /// transitions of each group is exported.
    pub with_buckets: bool,
}

/// Maps each kind of duration and label of a group to a tally. Groups with equal labels are merged.
type Tallies = BTreeMap<(Of, Option<String>), Tally>;

impl Durations {
    pub(super) fn show(&self, all: &mut Metrics, hooks: Hooks) {
        let tallies = self.tallies();
        let by = self.histograms.by;
        if let Some(by) = by {
            transitions(all, &tallies, by);
        }
        if self.with_buckets {
            let label = by.map(by_label);
            let show = |metric: &mut Metric, wanted: fn(Of) -> bool| {
                for ((of, group), tally) in &tallies {
                    if wanted(*of) && is_timed(*of, hooks) {
                        metric.sample(&labels(*of, label, group.as_deref()), distribution(tally));
                    }
                }
            };
            let help = "Time that sockets spent in a state. The label sockets is full, or mini for request and time-wait sockets.";
            let states = all.metric(Kind::Histogram, "tcpstate_state_duration_seconds", help);
            show(states, |of| matches!(of, Of::State(..)));
            let help = "Time from the SYN to ESTABLISHED, for outgoing (client) and incoming (server) connections.";
            let connects = all.metric(Kind::Histogram, "tcpstate_connect_latency_seconds", help);
            show(connects, |of| matches!(of, Of::ConnectClient | Of::ConnectServer));
            let help = "Lifetime of established connections, without TIME_WAIT.";
            let lifetimes = all.metric(Kind::Histogram, "tcpstate_lifetime_seconds", help);
            show(lifetimes, |of| of == Of::Lifetime);
            let help = "Lifetime of time-wait sockets.";
            let holds = all.metric(Kind::Histogram, "tcpstate_time_wait_hold_seconds", help);
            show(holds, |of| of == Of::TimeWaitHold);
            let help = "Durations without a known start, which are in no histogram.";
            let unknown = all.metric(Kind::Counter, "tcpstate_unknown_durations", help);
            for ((of, group), tally) in &tallies {
                if !is_of_transition(*of) && is_timed(*of, hooks) {
                    let mut labels = labels(*of, label, group.as_deref());
                    labels.insert(0, ("of", Labels::of(*of).of));
                    unknown.sample(&labels, tally.unknown);
                }
            }
        }
        let untimed = &self.histograms.untimed;
        let help = "Reasons for unknown durations or groups: missed events, sockets that did not fit in a map, failures of maps.";
        all.metric(Kind::Counter, "tcpstate_untimed", help)
            .sample(&[("reason", "missed")], untimed.missed)
            .sample(&[("reason", "untracked")], untimed.untracked)
            .sample(&[("reason", "untracked_minis")], untimed.untracked_minis)
            .sample(&[("reason", "group_errors")], untimed.group_errors);
    }

    /// Returns the tally of each kind and group. If no duration of a kind was counted, the tally of
    /// the kind is empty.
    fn tallies(&self) -> Tallies {
        let Histograms { by, all, .. } = &self.histograms;
        let name = |group: &Group| group_text(group).unwrap_or_else(|| "none".to_owned());
        let mut groups: BTreeSet<Option<String>> =
            all.iter().map(|histogram| histogram.group.as_ref().map(name)).collect();
        if let Some(by) = by {
            let is_by_port = matches!(by, By::LocalPort | By::RemotePort);
            let none = if is_by_port { Group::Client } else { Group::None };
            groups.extend([none, Group::Other].map(|group| Some(name(&group))));
        } else {
            groups.insert(None);
        }
        let each = groups.iter().flat_map(|group| Of::all().map(|of| (of, group.clone())));
        let mut tallies: Tallies = each.map(|key| (key, Tally::default())).collect();
        for Histogram { of, group, tally } in all {
            tallies.entry((*of, group.as_ref().map(name))).or_default().add(tally);
        }
        tallies
    }
}

/// Exports the number of transitions of each group.
fn transitions(all: &mut Metrics, tallies: &Tallies, by: By) {
    let name = match by {
        By::Netns => "tcpstate_netns_transitions",
        By::Cgroup => "tcpstate_cgroup_transitions",
        By::LocalPort => "tcpstate_local_port_transitions",
        By::RemotePort => "tcpstate_remote_port_transitions",
        By::Remote => "tcpstate_remote_transitions",
        By::Comm => "tcpstate_comm_transitions",
    };
    let help = "State changes by group of the socket, without births. Groups above the limit of series are summed as other.";
    let transitions = all.metric(Kind::Counter, name, help);
    for ((of, group), tally) in tallies.iter().filter(|((of, _), _)| is_of_transition(*of)) {
        let labels = labels(*of, Some(by_label(by)), group.as_deref());
        transitions.sample(&labels, tally.count() + tally.unknown);
    }
}

fn is_of_transition(of: Of) -> bool {
    matches!(of, Of::Transition(..) | Of::OtherTransitions)
}

/// Returns whether the hooks in use observe when each duration of this kind begins and ends.
fn is_timed(of: Of, hooks: Hooks) -> bool {
    let sees_each = |hook: Option<Provider>| hook.is_some_and(Provider::is_exact);
    match of {
        Of::State(State::SynRecv, SocketKind::Mini) | Of::ConnectServer => {
            sees_each(hooks.syn_recv)
        }
        Of::State(_, SocketKind::Mini) | Of::TimeWaitHold => sees_each(hooks.time_wait),
        _ => true,
    }
}

/// Returns the labels that identify a sample of a metric.
fn labels<'a>(
    of: Of,
    by: Option<&'static str>,
    group: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let Labels { state, from, to, sockets, side, .. } = Labels::of(of);
    let own = match of {
        Of::State(..) => vec![("state", state), ("sockets", sockets)],
        Of::Transition(..) => vec![("from", from), ("to", to)],
        Of::OtherTransitions => vec![("from", Some("other")), ("to", Some("other"))],
        Of::ConnectClient | Of::ConnectServer => vec![("side", side)],
        Of::Lifetime | Of::TimeWaitHold => Vec::new(),
    };
    let own = own.into_iter().filter_map(|(name, text)| Some((name, text?)));
    by.into_iter().zip(group).chain(own).collect()
}

fn distribution(tally: &Tally) -> Distribution {
    let ends = ENDS.map(|power| 1_u64 << power);
    let mut fine = tally.buckets().map(|(bucket, count)| (bucket_end(bucket), count)).peekable();
    let mut count = 0;
    let buckets = ends.map(|end| {
        while let Some((_, more)) = fine.next_if(|(fine, _)| fine.is_some_and(|fine| fine <= end)) {
            count += more;
        }
        (end as f64 / 1e9, count)
    });
    Distribution { buckets: buckets.collect(), count: tally.count(), sum: tally.sum.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use tcpstate_common::histogram::BUCKETS;

    use super::*;
    use crate::{
        report::{Transitions, Untimed},
        view::metrics::{Format, text},
    };

    const HOOKS: Hooks = Hooks {
        transitions: Some(Transitions::TpBtf),
        time_wait: Some(Provider::Fentry),
        syn_recv: Some(Provider::Fentry),
    };

    fn lines(histograms: Vec<Histogram>, by: Option<By>, hooks: Hooks) -> Vec<String> {
        let histograms =
            Histograms { by, is_filtered: false, all: histograms, untimed: Untimed::default() };
        let mut all = Metrics::default();
        Durations { histograms, with_buckets: true }.show(&mut all, hooks);
        let text = text(&all.all(), Format::Prometheus);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn lifetimes(group: Option<Group>, durations: &[u64], unknown: u64) -> Histogram {
        Histogram { of: Of::Lifetime, group, tally: Tally::from_nanos(durations, unknown) }
    }

    #[test]
    fn each_end_is_the_end_of_a_kernel_bucket() {
        for power in ENDS {
            assert!((0..BUCKETS).any(|bucket| bucket_end(bucket) == Some(1 << power)), "{power}");
        }
    }

    #[test]
    fn buckets_are_cumulative_and_the_last_has_all_durations() {
        // The duration 4096 ns is the upper bound of the first bucket, and 4097 ns is 1 ns longer.
        // The duration `1 << 50` is longer than the upper bound of the last bucket.
        let lines = lines(vec![lifetimes(None, &[4096, 4097, 1 << 50], 2)], None, HOOKS);
        let life = |rest: &str| lines.contains(&format!("tcpstate_lifetime_seconds_{rest}"));
        assert!(life("bucket{le=\"0.000004096\"} 1"), "{lines:#?}");
        assert!(life("bucket{le=\"0.000008192\"} 2"), "{lines:#?}");
        assert!(life("bucket{le=\"4398.046511104\"} 2"), "{lines:#?}");
        assert!(life("bucket{le=\"+Inf\"} 3") && life("count 3"), "{lines:#?}");
        assert!(life("sum 1125899.906850817"), "{lines:#?}");
        assert!(lines.contains(&"tcpstate_unknown_durations_total{of=\"lifetime\"} 2".to_owned()));
    }

    #[test]
    fn durations_without_a_hook_have_no_series_and_others_have_one_from_the_start() {
        let blind =
            Hooks { time_wait: Some(Provider::Polled), syn_recv: Some(Provider::None), ..HOOKS };
        let count = |hooks: Hooks, name: &str| {
            let lines = lines(Vec::new(), None, hooks);
            lines.iter().filter(|line| line.starts_with(name)).count()
        };
        let states = "tcpstate_state_duration_seconds_count";
        assert_eq!((count(HOOKS, states), count(blind, states)), (12, 9));
        let holds = "tcpstate_time_wait_hold_seconds_count";
        assert_eq!((count(HOOKS, holds), count(blind, holds)), (1, 0));
        let connects = "tcpstate_connect_latency_seconds_count";
        assert_eq!((count(HOOKS, connects), count(blind, connects)), (2, 1));
    }

    #[test]
    fn groups_have_labels_and_groups_with_equal_names_are_merged() {
        let cgroup = |id| Some(Group::Cgroup(id, Some("/a".to_owned())));
        let all = vec![
            lifetimes(cgroup(1), &[5000], 0),
            lifetimes(cgroup(2), &[5000, 5000], 0),
            Histogram {
                of: Of::Transition(State::LastAck, State::Close),
                group: cgroup(2),
                tally: Tally::from_nanos(&[7000], 3),
            },
        ];
        let lines = lines(all, Some(By::Cgroup), HOOKS);
        for line in [
            "tcpstate_lifetime_seconds_count{cgroup=\"/a\"} 3",
            "tcpstate_lifetime_seconds_count{cgroup=\"none\"} 0",
            "tcpstate_lifetime_seconds_count{cgroup=\"other\"} 0",
            "tcpstate_cgroup_transitions_total{cgroup=\"/a\",from=\"last_ack\",to=\"close\"} 4",
            "tcpstate_cgroup_transitions_total{cgroup=\"other\",from=\"last_ack\",to=\"close\"} 0",
        ] {
            assert!(lines.iter().any(|it| it == line), "{line}: {lines:#?}");
        }
    }
}
