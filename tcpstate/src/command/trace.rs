//! `tcpstate trace`: counts as they change, an interval at a time.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, ValueEnum, value_parser};

use super::{
    bpf_log, duration, event_filter, events,
    output::Output,
    pace::{Pace, Paced},
    record, refused_by_replay, replay, runtime,
    signals::Signals,
    terminal,
    values::{self, named},
    verify::Verifier,
    warnings,
};
use crate::{
    aggregate::Reconcile,
    probe::{MAX_NAMESPACES, Netns, Options},
    report::{Provider, Report, Snapshot, Transitions, Verdict},
    tracer::Tracer,
    view::{Csv, EventCsv, EventTable, Heat, Json, Screen, Table, View},
};

/// Count TCP sockets by state, and every transition, as they happen
///
/// Shows how many sockets of a network namespace (this one, unless asked otherwise) are in each state, which transitions
/// they make and how fast, exactly and without polling: a program in the kernel counts each transition as it happens.
/// Ctrl-C ends it with a summary of the whole run, to be pasted into a ticket.
///
/// On a terminal the table repaints in place and takes as much room as there is; in a pipe, or with TERM=dumb, it is a
/// block of plain text an interval. NO_COLOR=1 turns colours off.
///
/// Filters are for --events without --interval, and run in the kernel; --family is for gauges, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo tcpstate trace                          a screen, repainted each second
  sudo tcpstate trace -i 10s -d 1m | cat       six blocks of plain text, then the summary
  sudo tcpstate trace --netns all              the whole host, a row for each network namespace
  sudo tcpstate trace --netns pid:1            the network namespace of process 1, the host's
  sudo tcpstate trace --family 6               what ss -6 shows
  sudo tcpstate trace --cost                   and what the programs in the kernel take
  sudo tcpstate trace --verify                 and whether sock_diag agrees when nothing moves
  sudo tcpstate trace --matrix -i 5s           how often each transition occurs, as a heat map
  sudo tcpstate trace --events                 each transition: addresses, time in the state, process
  sudo tcpstate trace --events --local-port 443   of this port, decided in the kernel
  sudo tcpstate trace -o csv > states.csv      a row per state and interval, for a spreadsheet
  sudo tcpstate trace --record run.tcps        and write it to a file, to be shown again:
  tcpstate trace --replay run.tcps             the same, without root, anywhere
  sudo tcpstate trace -o json | jq .states     an object a line, for programs")]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line are just that")]
pub(super) struct Arguments {
    /// Time between two snapshots: 500ms, 2s, 1m; a bare number is seconds [at least 50ms; default: 1s, with --events
    /// none]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    interval: Option<Duration>,

    /// End after this time [default: run until Ctrl-C]
    #[arg(short, long, value_name = "DURATION", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// End after this many snapshots
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count)]
    count: Option<NonZeroU64>,

    /// Which network namespace: self, all, NAME (as in `ip netns`), name:NAME, path:FILE or pid:NUMBER; all is the host,
    /// with a row for each
    #[arg(long, value_name = "WHICH", default_value = "self")]
    netns: Netns,

    /// With --netns all: room for so many rows
    #[arg(long, value_name = "N", default_value_t = MAX_NAMESPACES, value_parser = value_parser!(u32).range(1..=1_048_576))]
    max_namespaces: u32,

    /// When to walk over all sockets again to make up for missed events: auto, off, or a pace such as 30s
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = values::reconcile)]
    reconcile: Reconcile,

    /// Room for this many sockets in the memory of a scan [default: as many as there are, and a quarter more]
    #[arg(long, alias = "pass-entries", value_name = "N", value_parser = values::entries)]
    max_scan_sockets: Option<NonZeroU32>,

    /// Count transitions by this hook and no other
    #[arg(long, value_name = "HOOK", value_parser = named(&Transitions::ALL, Transitions::name))]
    transitions_provider: Option<Transitions>,

    /// Count TIME_WAIT and orphans in FIN_WAIT2 by this and nothing else
    #[arg(long, value_name = "BY", value_parser = named(&Provider::ALL, Provider::name))]
    time_wait_provider: Option<Provider>,

    /// Count half-open connections by this and nothing else
    #[arg(long, value_name = "BY", value_parser = named(&[Provider::Fentry, Provider::Timer, Provider::None], Provider::name))]
    syn_recv_provider: Option<Provider>,

    /// Measure what the programs in the kernel cost; needs CAP_SYS_ADMIN
    ///
    /// Has the kernel measure each run of every BPF program while this runs, its own included (BPF_ENABLE_STATS),
    /// and shows the time of a run and the share of one CPU. Measuring costs some 70 ns a run itself, part of which
    /// the times shown include.
    #[arg(long)]
    cost: bool,

    /// Whenever nothing moves, compare the gauges with sock_diag, as ss shows it; status 1 if they ever differed
    #[arg(long)]
    verify: bool,

    /// Show the matrix of transitions instead of the gauges: counts, rates and shares, as a heat map and as bars
    #[arg(long, conflicts_with = "events")]
    matrix: bool,

    #[command(flatten)]
    events: events::Flags,

    /// How to show it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    #[command(flatten)]
    record: record::Flags,

    /// Show a recording instead of this system: without root, and as it was shown then
    #[arg(long, value_name = "FILE", conflicts_with_all = refused_by_replay::with(&LIVE))]
    replay: Option<PathBuf>,

    #[command(flatten)]
    replayed: replay::Flags,

    /// Let the kernel half log each transition to stderr (debugging: about 1 us each)
    #[arg(long)]
    bpf_log: bool,

    // The last, for what follows stands under its heading.
    #[command(flatten)]
    filter: event_filter::Flags,

    #[command(flatten)]
    connection: event_filter::ConnectionConditions,
}

/// What can't be asked of a recording, beside what no command can ask of one.
const LIVE: [&str; 11] = [
    "max_namespaces",
    "reconcile",
    "max_scan_sockets",
    "transitions_provider",
    "time_wait_provider",
    "syn_recv_provider",
    "cost",
    "verify",
    "event_buffer",
    "event_sockets",
    "bpf_log",
];

impl Arguments {
    /// The pace of snapshots, and whether there are any.
    fn snapshots(&self) -> (Duration, bool) {
        const USUAL: Duration = Duration::from_secs(1);
        (self.interval.unwrap_or(USUAL), self.interval.is_some() || !self.events.events)
    }

    /// What can't be had together.
    fn look_for_conflicts(&self) -> Result<()> {
        let (_, has_snapshots) = self.snapshots();
        let condition = self.filter.given().or_else(|| self.connection.given());
        if let (true, Some(flag)) = (has_snapshots, condition) {
            return Err(event_filter::Error::Gauges(flag).into());
        }
        match self.output {
            _ if !has_snapshots && self.count.is_some() => Err(events::Conflict::Count.into()),
            Format::Csv if has_snapshots && self.events.events => Err(events::Conflict::Csv.into()),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Text for people: on a terminal one that repaints in place, else a block an interval
    Table,
    /// One JSON object a line
    Json,
    /// A row per state and snapshot
    Csv,
}

fn parse_count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 on")
}

/// Runs it to its end.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(file) = &arguments.replay {
        let is_painted = terminal::caps().is_some()
            && matches!(arguments.output, Format::Table)
            && !arguments.events.events;
        return replay::show_as(file, &arguments.replayed, view(arguments), is_painted);
    }
    runtime()?.block_on(trace(arguments))
}

async fn trace(arguments: &Arguments) -> Result<ExitCode> {
    arguments.look_for_conflicts()?;
    // Before anything is attached, so that a signal at any time ends the run in order.
    let mut signals = Signals::new()?;
    let options = Options {
        netns: arguments.netns.clone(),
        family: arguments.filter.family().0,
        max_namespaces: Some(arguments.max_namespaces),
        transitions: arguments.transitions_provider,
        time_wait: arguments.time_wait_provider,
        syn_recv: arguments.syn_recv_provider,
        events: arguments.events.options(),
        event_filter: arguments.connection.narrow(arguments.filter.filter()?),
        statistics: arguments.cost,
        log: arguments.bpf_log,
        max_scan_sockets: arguments.max_scan_sockets.map(NonZeroU32::get),
        ..Options::default()
    };
    let verifier = Verifier::new(arguments.verify, &options.netns, options.family)?;
    let mut tracer = Tracer::start(&options)?;
    if arguments.bpf_log {
        bpf_log::forward(tracer.probe_mut())?;
    }
    warnings::at_start(tracer.probe());
    let loss_warner = events::LossWarner::since(tracer.losses()?);
    let events = tracer.take_events();
    let recorder = arguments.record.begin(events.is_some())?;
    let output = Output::start(record::recorded(view(arguments), recorder.clone()), events);
    output.offer(|| anyhow::Ok(Report::Start(tracer.start_report())))?;
    let (interval, has_snapshots) = arguments.snapshots();
    let interval = has_snapshots.then_some(interval);
    let Arguments { duration, count, reconcile, .. } = *arguments;
    let mut run = Run { tracer, reconcile, verifier, loss_warner };
    Pace { interval, duration, count }.run(&mut run, &output, &mut signals).await?;
    run.tracer.reconcile_at_end(reconcile)?;
    let verdict = run.verify()?;
    let Run { mut tracer, verifier, mut loss_warner, .. } = run;
    tracer.end_events();
    let summary = Snapshot { verdict, ..tracer.summary()? };
    let (map_full, is_exact) = (summary.map_full, summary.is_exact());
    loss_warner.warn(tracer.losses()?);
    let end = Report::End(summary);
    drop(tracer);
    record::finish(output, end, recorder, &mut signals).await?;
    warnings::at_end(map_full, is_exact, options.max_scan_sockets);
    let is_right = verifier.is_none_or(|verifier| verifier.conclude());
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::from(super::FOUND) })
}

/// What shows the reports.
fn view(arguments: &Arguments) -> Box<dyn View + Send> {
    let has_events = arguments.events.events;
    match (arguments.output, terminal::caps()) {
        (Format::Table, caps) if arguments.matrix => Box::new(Heat::new(caps, terminal::size)),
        (Format::Table, _) if has_events => Box::new(EventTable::new(arguments.events.clock())),
        (Format::Csv, _) if has_events => Box::new(EventCsv),
        (Format::Table, Some(caps)) => Box::new(Screen::new(caps, terminal::size)),
        (Format::Table, None) => Box::new(Table::default()),
        (Format::Json, _) => Box::new(Json),
        (Format::Csv, _) => Box::new(Csv::default()),
    }
}

/// A run that is under way.
struct Run {
    tracer: Tracer,
    reconcile: Reconcile,
    verifier: Option<Verifier>,
    loss_warner: events::LossWarner,
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
            let snapshot = Snapshot { verdict, ..self.tracer.snapshot()? };
            anyhow::Ok(Report::Snapshot(snapshot))
        })
    }

    fn look(&mut self) -> Result<()> {
        self.tracer.reconcile_if_due(self.reconcile)?;
        self.tracer.look_for_late_events()?;
        self.loss_warner.warn(self.tracer.losses()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_of_a_kernel_is_not_asked_of_a_recording() {
        let of_views = ["output", "events", "utc", "monotonic", "matrix"];
        refused_by_replay::assert_complete::<Arguments>(&LIVE, &of_views);
    }
}
