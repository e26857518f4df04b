//! `tcpstate trace`: shows live counts at each interval, or each transition as an event.

use std::{
    io::{self, IsTerminal as _},
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, value_parser};

use super::{
    bpf_log, duration, event_filter, events, foreground,
    help::{ADVANCED, OUTPUT},
    keys::Keys,
    output::Output,
    owners,
    pace::{Pace, Paced},
    privileges,
    program::{self, Program},
    record, refused_by_replay, replay, runtime,
    scan_warner::ScanWarner,
    signals::Signals,
    stdout::{Format, OutputFlag},
    terminal,
    values::{self, NetnsFlag, named},
    verify::Verifier,
    warnings,
};
use crate::{
    aggregate::Reconcile,
    filter::{EventFilter, GroupFilter},
    probe::{MAX_NAMESPACES, Options},
    report::{Key, Provider, Report, Snapshot, Transitions, Verdict},
    tracer::Tracer,
    view::{Csv, EventCsv, EventTable, Heat, Json, Screen, Table, TerminalCaps, View},
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
/// fields match no filter. Filters need --events, which evaluates them in the kernel, or --by, which
/// shows the groups with matching keys. Only --family also selects the sockets of the gauges.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  sudo tcpstate trace                         gauges and rates, every second
  sudo tcpstate trace --events                one line for each transition
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
  tcpstate trace --replay run.tcps            show it again, without root
  sudo tcpstate trace --events -- curl http://...    until curl ends
  sudo tcpstate trace -o json | jq .states")]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line are just that")]
pub(super) struct Arguments {
    #[command(flatten)]
    replayed: replay::Flags,

    /// Time between snapshots, at least 50ms [default: 1s]
    ///
    /// Time between snapshots, such as 500ms, 2s or 1m. A number without a unit is in seconds. With
    /// --events, snapshots are printed only if --interval is given.
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    interval: Option<Duration>,

    /// Stop after this time, such as 30s or 1h30m
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration::parse)]
    duration: Option<Duration>,

    /// Stop after N snapshots
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    count: Option<NonZeroU64>,

    #[command(flatten)]
    scope: NetnsFlag,

    #[command(flatten)]
    format: OutputFlag,

    #[command(flatten)]
    filter: event_filter::Flags,

    #[command(flatten)]
    connection: event_filter::ConnectionConditions,

    /// Compare the gauges with sock_diag
    ///
    /// Compare the gauges with the sockets that sock_diag lists (as ss does), at each snapshot
    /// during which no socket changes its state. The exit status is 1 if a gauge ever differed.
    #[arg(long, help_heading = OUTPUT)]
    verify: bool,

    /// Show the CPU time of the BPF programs
    ///
    /// Show the time per run and the share of one CPU for each BPF program (BPF_ENABLE_STATS). This
    /// needs CAP_SYS_ADMIN. The measurement adds about 70 ns to each run, and the shown times
    /// include a part of these 70 ns.
    #[arg(long, help_heading = OUTPUT)]
    cost: bool,

    #[command(flatten)]
    record: record::Flags,

    /// Show a recording instead of this system
    #[arg(long, value_name = "FILE", conflicts_with_all = refused_by_replay::with(&LIVE))]
    replay: Option<PathBuf>,

    #[command(flatten)]
    program: program::Flags,

    #[command(flatten)]
    events: events::Flags,

    #[command(flatten)]
    owners: owners::Flags,

    /// Show the frequency of each transition
    ///
    /// Show the number, rate and share of each transition as a heat map and as bars, instead of the
    /// gauges.
    #[arg(long, conflicts_with = "events", help_heading = OUTPUT)]
    matrix: bool,

    /// Scan again: auto, off or TIME
    ///
    /// When to scan all sockets again: auto, off, or an interval such as 30s. A scan corrects the
    /// gauges after missed events; auto scans only after missed events.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = values::reconcile, help_heading = ADVANCED)]
    reconcile: Reconcile,

    #[command(flatten)]
    audit: values::AuditFlag,

    /// Maximum number of namespaces
    ///
    /// Maximum number of network namespaces to track with --netns all.
    #[arg(long, value_name = "N", default_value_t = MAX_NAMESPACES, value_parser = value_parser!(u32).range(1..=1_048_576), help_heading = ADVANCED)]
    max_namespaces: u32,

    /// Maximum sockets per scan [default: automatic]
    ///
    /// Maximum number of sockets in a scan. The default is 25 % more than the number of sockets.
    #[arg(long, alias = "pass-entries", value_name = "N", value_parser = values::entries, help_heading = ADVANCED)]
    max_scan_sockets: Option<NonZeroU32>,

    /// Transition hook: tp_btf, raw_tp, tracepoint
    ///
    /// Hook that counts transitions: tp_btf, raw_tp or tracepoint. By default, the first hook that
    /// works is used.
    #[arg(long, value_name = "BY", value_parser = named(&Transitions::ALL, Transitions::name), hide_possible_values = true, help_heading = ADVANCED)]
    transitions_provider: Option<Transitions>,

    /// TIME_WAIT source: fentry, timer, polled, none
    ///
    /// Source of the counts of time-wait sockets: fentry, timer, polled or none. By default, the
    /// first source that works is used.
    #[arg(long, value_name = "BY", value_parser = named(&Provider::ALL, Provider::name), hide_possible_values = true, help_heading = ADVANCED)]
    time_wait_provider: Option<Provider>,

    /// SYN_RECV source: fentry, timer, none
    ///
    /// Source of the counts of half-open connections: fentry, timer or none. By default, the first
    /// source that works is used.
    #[arg(long, value_name = "BY", value_parser = named(&[Provider::Fentry, Provider::Timer, Provider::None], Provider::name), hide_possible_values = true, help_heading = ADVANCED)]
    syn_recv_provider: Option<Provider>,

    /// Log each transition to stderr
    ///
    /// Log each transition that the BPF programs count to stderr, for debugging. The log costs
    /// about 1 us per transition.
    #[arg(long, help_heading = ADVANCED)]
    bpf_log: bool,
}

/// The flags that `--replay` refuses only in `trace`. [`refused_by_replay`] has the shared flags.
const LIVE: [&str; 13] = [
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
];

impl Arguments {
    /// Returns the interval of snapshots, and whether snapshots are shown.
    fn snapshots(&self) -> (Duration, bool) {
        const USUAL: Duration = Duration::from_secs(1);
        (self.interval.unwrap_or(USUAL), self.interval.is_some() || !self.events.events)
    }

    /// Returns the options of the tracer.
    fn options(&self, program: &Program) -> Result<Options> {
        Ok(Options {
            netns: self.scope.netns.clone(),
            family: self.filter.family().0,
            max_namespaces: Some(self.max_namespaces),
            transitions: self.transitions_provider,
            time_wait: self.time_wait_provider,
            syn_recv: self.syn_recv_provider,
            events: self.events.options(),
            event_filter: program.narrow(if self.has_groups() {
                EventFilter::default()
            } else {
                self.filter()?
            }),
            owners: self.owners.options(),
            statistics: self.cost,
            log: self.bpf_log,
            max_scan_sockets: self.max_scan_sockets.map(NonZeroU32::get),
            ..Options::default()
        })
    }

    /// Returns the filter of all flags. The filter selects groups if there are groups, and else
    /// events.
    fn filter(&self) -> Result<EventFilter> {
        Ok(self.connection.narrow(self.filter.filter()?)?)
    }

    fn has_groups(&self) -> bool {
        !self.events.events && !self.owners.keys().is_empty()
    }

    /// Returns the filter of groups, which keeps all groups if there are no conditions.
    fn group_filter(&self) -> Result<GroupFilter> {
        if !self.has_groups() {
            return Ok(GroupFilter::default());
        }
        let by = self.owners.keys();
        GroupFilter::new(self.filter()?, by).map_err(|no_key| self.owners.no_key(no_key).into())
    }

    /// Refuses flags that cannot be combined.
    fn look_for_conflicts(&self) -> Result<()> {
        let (_, has_snapshots) = self.snapshots();
        let condition = self.filter.given().or_else(|| self.connection.given());
        if let (true, false, Some(flag)) = (has_snapshots, self.has_groups(), condition) {
            return Err(event_filter::Error::Gauges(flag).into());
        }
        self.owners.require_snapshots(has_snapshots)?;
        self.program.require_processes(has_snapshots, self.owners.keys())?;
        match self.format.output {
            _ if !has_snapshots && self.count.is_some() => Err(events::Conflict::Count.into()),
            Format::Csv if has_snapshots && self.events.events => Err(events::Conflict::Csv.into()),
            _ => Ok(()),
        }
    }
}

fn parse_count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "expected a number of at least 1")
}

/// Runs `tcpstate trace`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(file) = &arguments.replay {
        let is_painted = has_screen(arguments);
        return replay::show_as(file, &arguments.replayed, is_painted, |part| {
            arguments.owners.require_recorded(file, &part.by)?;
            Ok(view(arguments, &part.by))
        });
    }
    // The program must not inherit the confinement.
    let program = arguments.program.fork()?;
    privileges::confine()?;
    runtime()?.block_on(trace(arguments, program))
}

async fn trace(arguments: &Arguments, mut program: Program) -> Result<ExitCode> {
    arguments.look_for_conflicts()?;
    // Signals are caught before hooks are attached, so that a signal always ends the run cleanly.
    let mut signals = Signals::of_run()?;
    let groups = arguments.group_filter()?;
    let options = arguments.options(&program)?;
    let verifier = Verifier::new(arguments.verify, &options.netns, options.family)?;
    let mut tracer = Tracer::start(&options)?;
    tracer.limit_audits(arguments.audit.max_audit_cpu);
    if arguments.bpf_log {
        bpf_log::forward(tracer.probe_mut())?;
    }
    warnings::at_start(tracer.probe());
    let loss_warner = events::LossWarner::since(tracer.losses()?);
    let events = tracer.take_events();
    privileges::keep_for_run(tracer.probe(), arguments.record.is_wanted(), program.is_given())?;
    let recorder = arguments.record.begin(events.is_some(), arguments.owners.keys())?;
    program.start().inspect_err(|_| record::discard(&arguments.record, recorder.clone()))?;
    let mut keys = Keys::start(has_screen(arguments))?;
    let view = view(arguments, arguments.owners.keys());
    let view = foreground::only(keys.with_help(view), has_screen(arguments));
    let output = Output::start(record::recorded(view, recorder.clone()), events)?;
    output.offer(|| anyhow::Ok(Report::Start(tracer.start_report())))?;
    let (interval, has_snapshots) = arguments.snapshots();
    let interval = has_snapshots.then_some(interval);
    let Arguments { duration, count, reconcile, .. } = *arguments;
    let scan_warner = ScanWarner::default();
    let mut run = Run { tracer, reconcile, verifier, loss_warner, scan_warner, groups };
    let pace = Pace { interval, duration, count };
    let ending = pace.run(&mut run, &output, &mut signals, &mut keys, &mut program).await?;
    program.end(ending, &mut signals).await;
    // Restores the modes of the terminal before the last lines.
    drop(keys);
    run.tracer.reconcile_at_end(reconcile)?;
    let verdict = run.verify()?;
    let Run { mut tracer, verifier, mut loss_warner, mut scan_warner, groups, .. } = run;
    tracer.end_events();
    let mut summary = Snapshot { verdict, ..tracer.summary()? };
    let totals = summary.clone();
    summary.owners.as_mut().into_iter().for_each(|owners| groups.apply(owners));
    scan_warner.warn(&mut tracer);
    loss_warner.warn(tracer.losses()?);
    warnings::of_tree(tracer.probe());
    let end = Report::End(summary);
    drop(tracer);
    record::finish(output, end, recorder, &mut signals, &program).await?;
    program.wait(ending, &mut signals).await;
    warnings::at_end(&totals, options.max_scan_sockets);
    arguments.owners.warn(totals.owners.as_ref());
    let is_right = verifier.is_none_or(|verifier| verifier.conclude());
    Ok(program.exit_code(if is_right { 0 } else { super::FOUND }))
}

/// Returns the capabilities of a terminal that can be repainted. A program writes to the terminal
/// too, so the terminal is then not repainted.
fn caps(arguments: &Arguments) -> Option<TerminalCaps> {
    if arguments.program.is_given() { None } else { terminal::caps() }
}

/// Returns whether the terminal is repainted.
fn has_screen(arguments: &Arguments) -> bool {
    caps(arguments).is_some()
        && matches!(arguments.format.output, Format::Table)
        && !arguments.events.events
}

/// Returns the view for the reports. `by` has the keys of the groups.
fn view(arguments: &Arguments, by: &[Key]) -> Box<dyn View + Send> {
    let has_events = arguments.events.events;
    let order = arguments.owners.order();
    match (arguments.format.output, caps(arguments)) {
        (Format::Table, caps) if arguments.matrix => Box::new(Heat::new(caps, terminal::size)),
        (Format::Table, _) if has_events => {
            let table = EventTable::new(arguments.events.clock()).with_order(order);
            let is_terminal = io::stdout().is_terminal();
            Box::new(if is_terminal { table.on_terminal(terminal::size) } else { table })
        }
        (Format::Csv, _) if has_events => Box::new(EventCsv),
        (Format::Table, Some(caps)) => {
            Box::new(Screen::new(caps, terminal::size).with_order(order))
        }
        (Format::Table, None) => Box::new(Table::new(order)),
        (Format::Json, _) => Box::new(Json::new(order)),
        (Format::Csv, _) => Box::new(Csv::new(by.to_vec(), order)),
    }
}

/// A run of `trace` in progress.
struct Run {
    tracer: Tracer,
    reconcile: Reconcile,
    verifier: Option<Verifier>,
    loss_warner: events::LossWarner,
    scan_warner: ScanWarner,
    groups: GroupFilter,
}

impl Run {
    fn verify(&mut self) -> Result<Option<Verdict>> {
        self.verifier.as_mut().map(|verifier| verifier.verify(&mut self.tracer)).transpose()
    }
}

impl Paced for Run {
    fn report(&mut self, output: &Output) -> Result<()> {
        self.tracer.reconcile_if_due(self.reconcile)?;
        output.offer(|| {
            let verdict = self.verify()?;
            let mut snapshot = Snapshot { verdict, ..self.tracer.snapshot()? };
            snapshot.owners.as_mut().into_iter().for_each(|owners| self.groups.apply(owners));
            anyhow::Ok(Report::Snapshot(snapshot))
        })
    }

    fn look(&mut self) -> Result<()> {
        self.tracer.reconcile_if_due(self.reconcile)?;
        self.scan_warner.warn(&mut self.tracer);
        self.tracer.look_for_late_events()?;
        self.loss_warner.warn(self.tracer.losses()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_flags_conflict_with_replay() {
        let of_views = ["output", "events", "utc", "monotonic", "matrix", "by", "top", "sort"];
        refused_by_replay::assert_complete::<Arguments>(&LIVE, &of_views);
    }
}
