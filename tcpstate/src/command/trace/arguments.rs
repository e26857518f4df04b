//! The flags of `trace`.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, value_parser};

use crate::{
    aggregate::Reconcile,
    command::{
        connections, duration, event_filter, events, full,
        help::{ADVANCED, OUTPUT},
        owners,
        program::{self, Program},
        record, refused_by_replay, replay,
        stdout::{Format, OutputFlag},
        values::{self, NetnsFlag, named},
    },
    filter::{ConnectionFilter, EventFilter, GroupFilter},
    probe::{HistogramOptions, MAX_NAMESPACES, Options},
    report::{Key, Provider, Transitions},
    view::EventLines,
};

/// Show the number of TCP sockets by state, and every transition
///
/// Counts the sockets of one network namespace exactly and without polling: a program in the kernel
/// counts each transition. Ctrl-C ends the run and prints a summary.
///
/// On a terminal, the screen is repainted at each interval. `q` ends the run, and `?` shows a line
/// of help. In a pipe, or with TERM=dumb, each interval prints a block of text.
///
/// Filters are combined with AND. A list such as 80,443 matches each of its items, and unknown
/// fields match no filter. Filters need --events or --connections, which evaluate them in the
/// kernel, or --by, which shows the groups with matching keys. Only --family also selects the
/// sockets of the gauges.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  sudo tcpstate trace                         gauges and rates, every second
  sudo tcpstate trace --events                one line for each transition
  sudo tcpstate trace --connections           one line for each connection
  sudo tcpstate trace --connections --failed  only connects that failed
  sudo tcpstate trace -i 10s -d 1m -o json    six snapshots for programs
  sudo tcpstate trace --by process            which process makes TIME_WAITs
  sudo tcpstate trace --by remote,remote-port --sort failed
  sudo tcpstate trace --by process --comm nginx
  sudo tcpstate trace --netns all             the whole host
  sudo tcpstate trace --netns pid:1           the network namespace of process 1
  sudo tcpstate trace --family 6              the sockets that ss -6 shows
  sudo tcpstate trace --cost                  also the CPU time of BPF programs
  sudo tcpstate trace --verify                also a comparison with sock_diag
  sudo tcpstate trace --matrix -i 5s          transitions as a heat map
  sudo tcpstate trace --events --local-port 443
  sudo tcpstate trace -o csv > states.csv     a row per state and interval
  sudo tcpstate trace --record run.tcps       also write a recording
  sudo tcpstate trace --record run.tcps --full     with everything in it
  tcpstate trace --replay run.tcps            show it again, without root
  sudo tcpstate trace --events -- curl http://...    until curl ends
  sudo tcpstate trace -o json | jq .states")]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line are just that")]
pub(in crate::command) struct Arguments {
    #[command(flatten)]
    pub(super) replayed: replay::Flags,

    /// Time between snapshots, at least 50ms [default: 1s]
    ///
    /// Time between snapshots, such as 500ms, 2s or 1m. A number without a unit is in seconds. With
    /// --events or --connections, snapshots are printed only if --interval is given.
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    pub(super) interval: Option<Duration>,

    /// Stop after this time, such as 30s or 1h30m
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration::parse)]
    pub(super) duration: Option<Duration>,

    /// Stop after N snapshots
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    pub(super) count: Option<NonZeroU64>,

    #[command(flatten)]
    pub(super) scope: NetnsFlag,

    #[command(flatten)]
    pub(super) format: OutputFlag,

    #[command(flatten)]
    pub(super) filter: event_filter::Flags,

    #[command(flatten)]
    pub(super) connection: event_filter::ConnectionConditions,

    /// Compare the gauges with sock_diag
    ///
    /// Compare the gauges with the sockets that sock_diag lists (as ss does), at each snapshot
    /// during which no socket changes its state. The exit status is 1 if a gauge ever differed.
    #[arg(long, help_heading = OUTPUT)]
    pub(super) verify: bool,

    /// Show the CPU time of the BPF programs
    ///
    /// Show the time per run and the share of one CPU for each BPF program (BPF_ENABLE_STATS). This
    /// needs CAP_SYS_ADMIN. The measurement adds about 70 ns to each run, and the shown times
    /// include a part of these 70 ns.
    #[arg(long, help_heading = OUTPUT)]
    pub(super) cost: bool,

    #[command(flatten)]
    pub(super) record: record::Flags,

    #[command(flatten)]
    pub(super) full: full::Flags,

    /// Show a recording instead of this system
    #[arg(long, value_name = "FILE", conflicts_with_all = refused_by_replay::with(&LIVE))]
    pub(super) replay: Option<PathBuf>,

    #[command(flatten)]
    pub(super) program: program::Flags,

    #[command(flatten)]
    pub(super) events: events::Flags,

    #[command(flatten)]
    pub(super) connections: connections::Flags,

    #[command(flatten)]
    pub(super) owners: owners::Flags,

    /// Show the frequency of each transition
    ///
    /// Show the number, rate and share of each transition as a heat map and as bars, instead of the
    /// gauges.
    #[arg(long, conflicts_with = "lines", help_heading = OUTPUT)]
    pub(super) matrix: bool,

    /// Scan again: auto, off or TIME
    ///
    /// When to scan all sockets again: auto, off, or an interval such as 30s. A scan corrects the
    /// gauges after missed events; auto scans only after missed events.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = values::reconcile, help_heading = ADVANCED)]
    pub(super) reconcile: Reconcile,

    #[command(flatten)]
    pub(super) audit: values::AuditFlag,

    /// Maximum number of namespaces
    ///
    /// Maximum number of network namespaces to track with --netns all.
    #[arg(long, value_name = "N", default_value_t = MAX_NAMESPACES, value_parser = value_parser!(u32).range(1..=1_048_576), help_heading = ADVANCED)]
    pub(super) max_namespaces: u32,

    /// Maximum sockets per scan [default: automatic]
    ///
    /// Maximum number of sockets in a scan. The default is 25 % more than the number of sockets.
    #[arg(long, alias = "pass-entries", value_name = "N", value_parser = values::entries, help_heading = ADVANCED)]
    pub(super) max_scan_sockets: Option<NonZeroU32>,

    /// Transition hook: tp_btf, raw_tp, tracepoint
    ///
    /// Hook that counts transitions: tp_btf, raw_tp or tracepoint. By default, the first hook that
    /// works is used.
    #[arg(long, value_name = "BY", value_parser = named(&Transitions::ALL, Transitions::name), hide_possible_values = true, help_heading = ADVANCED)]
    pub(super) transitions_provider: Option<Transitions>,

    /// TIME_WAIT source: fentry, timer, polled, none
    ///
    /// Source of the counts of time-wait sockets: fentry, timer, polled or none. By default, the
    /// first source that works is used.
    #[arg(long, value_name = "BY", value_parser = named(&Provider::ALL, Provider::name), hide_possible_values = true, help_heading = ADVANCED)]
    pub(super) time_wait_provider: Option<Provider>,

    /// SYN_RECV source: fentry, timer, none
    ///
    /// Source of the counts of half-open connections: fentry, timer or none. By default, the first
    /// source that works is used.
    #[arg(long, value_name = "BY", value_parser = named(&[Provider::Fentry, Provider::Timer, Provider::None], Provider::name), hide_possible_values = true, help_heading = ADVANCED)]
    pub(super) syn_recv_provider: Option<Provider>,

    /// Log each transition to stderr
    ///
    /// Log each transition that the BPF programs count to stderr, for debugging. The log costs
    /// about 1 us per transition.
    #[arg(long, help_heading = ADVANCED)]
    pub(super) bpf_log: bool,
}

/// The flags that `--replay` refuses only in `trace`. [`refused_by_replay`] has the shared flags.
pub(super) const LIVE: [&str; 14] = [
    "max_owners",
    "max_namespaces",
    "reconcile",
    "max_audit_cpu",
    "max_scan_sockets",
    "transitions_provider",
    "time_wait_provider",
    "syn_recv_provider",
    "cost",
    "verify",
    "max_event_buffer",
    "max_event_sockets",
    "bpf_log",
    "pending",
];

impl Arguments {
    /// Returns the interval of snapshots, and whether snapshots are shown.
    pub(super) fn snapshots(&self) -> (Duration, bool) {
        const USUAL: Duration = Duration::from_secs(1);
        let has_snapshots =
            self.interval.is_some() || self.full.is_given() || !self.events.are_given();
        (self.interval.unwrap_or(USUAL), has_snapshots)
    }

    /// Returns the keys of the groups. A full recording has groups, by default by process.
    pub(super) fn keys(&self) -> &[Key] {
        match self.owners.keys() {
            [] if self.full.is_given() => &[Key::Process],
            keys => keys,
        }
    }

    /// Returns the lines that a recording contains.
    pub(super) fn recorded_lines(&self) -> EventLines {
        if self.full.is_given() { EventLines::ALL } else { self.events.lines() }
    }

    /// Returns the options of the tracer.
    pub(super) fn options(&self, program: &Program) -> Result<Options> {
        Ok(Options {
            netns: self.scope.netns.clone(),
            family: self.filter.family().0,
            max_namespaces: Some(self.max_namespaces),
            transitions: self.transitions_provider,
            time_wait: self.time_wait_provider,
            syn_recv: self.syn_recv_provider,
            events: self.events.options(self.full.is_given()),
            event_filter: program.narrow(if self.has_groups() {
                EventFilter::default()
            } else {
                self.filter()?
            }),
            owners: self.owners.options(self.keys()),
            histograms: self.full.is_given().then(HistogramOptions::default),
            statistics: self.cost,
            log: self.bpf_log,
            max_scan_sockets: self.max_scan_sockets.map(NonZeroU32::get),
            ..Options::default()
        })
    }

    /// Returns the filter of all flags. The filter selects groups if there are groups, and else
    /// events.
    fn filter(&self) -> Result<EventFilter> {
        let filter = self.connection.narrow(self.filter.filter()?)?;
        // The duration of a connection is known only at its end.
        let min_duration = filter.min_duration.filter(|_| !self.events.are_connections());
        Ok(EventFilter { min_duration, ..filter })
    }

    /// Returns the filter of ended connections.
    pub(super) fn connection_filter(&self) -> ConnectionFilter {
        let min_duration = self.connection.min_duration();
        let min_duration = min_duration.filter(|_| self.events.are_connections());
        ConnectionFilter { min_duration, ..self.connections.filter() }
    }

    fn has_groups(&self) -> bool {
        !self.events.are_given() && !self.keys().is_empty()
    }

    /// Returns the filter of groups, which keeps all groups if there are no conditions.
    pub(super) fn group_filter(&self) -> Result<GroupFilter> {
        if !self.has_groups() {
            return Ok(GroupFilter::default());
        }
        let by = self.keys();
        GroupFilter::new(self.filter()?, by).map_err(|no_key| self.owners.no_key(no_key).into())
    }

    /// Refuses flags that cannot be combined.
    pub(super) fn look_for_conflicts(&self) -> Result<()> {
        let (_, has_snapshots) = self.snapshots();
        let condition = self.filter.given().or_else(|| self.connection.given());
        let of_connections = || self.connections.given();
        if let (true, Some(flag)) = (self.full.is_given(), condition.or_else(of_connections)) {
            return Err(full::Error::Filter(flag).into());
        }
        if let (true, false, Some(flag)) = (has_snapshots, self.has_groups(), condition) {
            return Err(event_filter::Error::Gauges(flag).into());
        }
        if let (true, Some(flag)) = (self.events.are_connections(), self.filter.given_moves()) {
            return Err(connections::Error::Moves(flag).into());
        }
        self.owners.require_snapshots(has_snapshots, self.events.name())?;
        self.program.require_processes(has_snapshots, self.keys())?;
        match self.format.output {
            _ if !has_snapshots && self.count.is_some() => {
                Err(events::Conflict::Count(self.events.name()).into())
            }
            Format::Csv if has_snapshots && self.events.are_given() => {
                Err(events::Conflict::Csv(self.events.name()).into())
            }
            _ => Ok(()),
        }
    }
}

fn parse_count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "expected a number of at least 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_flags_conflict_with_replay() {
        let lines = ["events", "connections", "failed", "ended_by", "utc", "monotonic"];
        let of_views = [&lines[..], &["output", "matrix", "by", "top", "sort", "full"]].concat();
        refused_by_replay::assert_complete::<Arguments>(&LIVE, &of_views);
    }
}
