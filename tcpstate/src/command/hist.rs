//! `tcpstate hist`: measures how long states, handshakes and connections last, and counts each
//! transition.

use std::{
    io::{self, IsTerminal as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, value_parser};
use tcpstate_common::histogram::By;

use super::{
    duration, event_filter,
    help::ADVANCED,
    keys::Keys,
    output::Output,
    pace::{Pace, Paced},
    privileges,
    program::{self, Program},
    record, refused_by_replay, replay, runtime,
    scan_warner::ScanWarner,
    signals::Signals,
    stdout::{Format, OutputFlag},
    terminal,
    values::{AuditFlag, NetnsFlag, named},
    warnings,
};
use crate::{
    aggregate::Reconcile,
    filter::ConnectionFilter,
    probe::{HistogramOptions, MAX_GROUPS, MAX_TIMED, Options},
    recording::{self, Record, Recording, Timed},
    report::{Report, Untimed},
    tracer::Tracer,
    view::{EventLines, HistCsv, HistJson, HistTable, Section, View},
};

/// Show how long states, handshakes and connections last
///
/// Measures durations in the kernel and prints them as histograms: the time in each state, the time
/// before each transition, the lifetime of connections, the time in TIME_WAIT, and the duration of
/// connects. A connect lasts from connect() to ESTABLISHED on a client, and from the SYN to
/// ESTABLISHED on a server. hist also prints the matrix of transitions. Histograms are printed at
/// the end of the run and after each --interval.
///
/// Percentiles have an error of at most 6.25 % for durations from 256 ns to 52 days. Counts,
/// minimum, maximum and mean are exact. A duration is counted as unknown if its start was not
/// observed or if an event was missed.
///
/// Filters are combined with AND and evaluated in the kernel. A filter matches the transition that
/// ends a duration. The matrix cannot be filtered.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  sudo tcpstate hist                           all histograms, until Ctrl-C
  sudo tcpstate hist -d 30s --of connect       duration of handshakes, for 30 s
  sudo tcpstate hist --by local-port           one group for each local port
  sudo tcpstate hist -i 10s --of matrix        transitions, every 10 s
  sudo tcpstate hist --by remote --of connect  slow destinations
  sudo tcpstate hist --local-port 443          one port
  sudo tcpstate hist --of connect -- curl http://...  until curl ends
  sudo tcpstate hist -d 1m -o csv > hist.csv   a row per histogram
  sudo tcpstate hist -d 1m -o json | jq .p99   with buckets, for programs")]
pub(super) struct Arguments {
    #[command(flatten)]
    replayed: replay::Flags,

    /// Time between histograms, at least 50ms
    ///
    /// Print the durations that ended in each interval of this length, such as 500ms, 2s or 1m. A
    /// number without a unit is in seconds. By default, only the durations of the whole run are
    /// printed.
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    interval: Option<Duration>,

    /// Stop after this time, such as 30s or 1h30m
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration::parse)]
    duration: Option<Duration>,

    /// Stop after N intervals
    #[arg(short = 'n', long, value_name = "N", requires = "interval")]
    count: Option<NonZeroU64>,

    #[command(flatten)]
    scope: NetnsFlag,

    #[command(flatten)]
    format: OutputFlag,

    /// Kinds of histograms, such as connect,time-wait
    ///
    /// Kinds of histograms: matrix, connect, lifetime, time-wait, state, transition. By default,
    /// all kinds except the bars of transitions are shown.
    #[arg(long, value_name = "KINDS", hide_possible_values = true, value_delimiter = ',', value_parser = named(&Section::ALL, Section::name))]
    of: Option<Vec<Section>>,

    /// Group by local-port, remote, comm or another key
    ///
    /// Group by one key: local-port, remote-port, remote, netns, cgroup or comm.
    #[arg(long, value_name = "KEY", hide_possible_values = true, value_parser = named(&By::ALL, name))]
    by: Option<By>,

    #[command(flatten)]
    unavailable: event_filter::UnavailableConditions,

    #[command(flatten)]
    filter: event_filter::Flags,

    #[command(flatten)]
    record: record::Flags,

    /// Show a recording instead of this system
    #[arg(long, value_name = "FILE", conflicts_with_all = refused_by_replay::with(&LIVE))]
    replay: Option<PathBuf>,

    #[command(flatten)]
    program: program::Flags,

    /// Maximum number of groups
    ///
    /// Maximum number of groups, 210 KiB each. The groups after the first N are summed as `other`.
    #[arg(long, value_name = "N", requires = "by", default_value_t = MAX_GROUPS, value_parser = value_parser!(u32).range(1..=16_384), help_heading = ADVANCED)]
    max_groups: u32,

    /// Maximum sockets to time
    ///
    /// Maximum number of sockets to time at once, and of time-wait sockets. Each socket uses 324
    /// bytes.
    #[arg(long, value_name = "N", default_value_t = MAX_TIMED, value_parser = value_parser!(u32).range(1..=16_777_216), help_heading = ADVANCED)]
    max_sockets: u32,

    #[command(flatten)]
    audit: AuditFlag,
}

/// The flags that `--replay` refuses only in `hist`. [`refused_by_replay`] has the shared flags.
const LIVE: [&str; 4] = ["by", "max_groups", "max_sockets", "max_audit_cpu"];

const fn name(by: By) -> &'static str {
    match by {
        By::LocalPort => "local-port",
        By::RemotePort => "remote-port",
        By::Remote => "remote",
        By::Netns => "netns",
        By::Cgroup => "cgroup",
        By::Comm => "comm",
    }
}

/// Runs `tcpstate hist`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(file) = &arguments.replay {
        privileges::drop_before_reading(file)?;
        require_shown(file, arguments.replayed.max_memory(), wants_matrix(arguments))?;
        return replay::show_as(
            file,
            &arguments.replayed,
            false,
            ConnectionFilter::default(),
            |_| Ok(view(arguments)),
        );
    }
    // The program must not inherit the confinement.
    let program = arguments.program.fork()?;
    privileges::confine()?;
    runtime()?.block_on(hist(arguments, program))
}

/// Returns whether `--of` names the matrix.
fn wants_matrix(arguments: &Arguments) -> bool {
    arguments.of.as_ref().is_some_and(|of| of.contains(&Section::Matrix))
}

/// Refuses a recording without durations. If the matrix is wanted, also refuses a recording of
/// filtered durations, as a live run does. This function reads the recording up to the first
/// snapshot or event. A recording of events has durations only if it has connections too, because
/// it is then a full recording.
fn require_shown(file: &Path, max_memory: u64, wants_matrix: bool) -> Result<()> {
    // A pipe can be read only once, so this function does not check a recording in a pipe.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let mut recording = Recording::open(file, max_memory)?;
    let may_be_full = recording.part().has_connections;
    // If a recording is damaged before its first snapshot, `hist` shows the recording up to the
    // damage.
    while let Ok(Some(Timed { record, .. })) = recording.next_record() {
        let histograms = match &record {
            Record::Events(_) if may_be_full => continue,
            Record::Events(_) => None,
            Record::Report(report) => match report.as_ref() {
                Report::Start(_) => continue,
                Report::Snapshot(snapshot) | Report::End(snapshot) => snapshot.histograms.as_ref(),
            },
        };
        return match histograms {
            None => Err(recording::Error::NoDurations { file: file.to_owned() }.into()),
            Some(histograms) if wants_matrix && histograms.is_filtered => {
                Err(event_filter::Error::Matrix("the recording's filter").into())
            }
            Some(_) => Ok(()),
        };
    }
    Ok(())
}

async fn hist(arguments: &Arguments, mut program: Program) -> Result<ExitCode> {
    arguments.unavailable.refuse()?;
    let condition = arguments.filter.given().or_else(|| arguments.program.filter());
    if let (true, Some(flag)) = (wants_matrix(arguments), condition) {
        return Err(event_filter::Error::Matrix(flag).into());
    }
    // Signals are caught before hooks are attached, so that a signal always ends the run cleanly.
    let mut signals = Signals::of_run()?;
    let histograms = HistogramOptions {
        by: arguments.by,
        max_groups: arguments.max_groups,
        max_sockets: arguments.max_sockets,
    };
    let options = Options {
        netns: arguments.scope.netns.clone(),
        family: arguments.filter.family().0,
        event_filter: program.narrow(arguments.filter.filter()?),
        histograms: Some(histograms),
        ..Options::default()
    };
    let mut run = Run(Tracer::start(&options)?, ScanWarner::default());
    run.0.limit_audits(arguments.audit.max_audit_cpu);
    warnings::at_start(run.0.probe());
    privileges::keep_for_run(run.0.probe(), arguments.record.is_wanted(), program.is_given())?;
    let recorder = arguments.record.begin(EventLines::NONE, &[])?;
    program.start().inspect_err(|_| record::discard(&arguments.record, recorder.clone()))?;
    let view = record::recorded(view(arguments), recorder.clone());
    let output = Output::start(view, None, ConnectionFilter::default())?;
    output.offer(|| anyhow::Ok(Report::Start(run.0.start_report())))?;
    let Arguments { interval, duration, count, .. } = *arguments;
    let pace = Pace { interval, duration, count };
    let mut keys = Keys::none();
    let ending = pace.run(&mut run, &output, &mut signals, &mut keys, &mut program).await?;
    program.end(ending, &mut signals).await;
    let Run(mut tracer, mut scan_warner) = run;
    tracer.reconcile_at_end(Reconcile::Auto)?;
    let summary = tracer.summary()?;
    scan_warner.warn(&mut tracer);
    warnings::of_tree(tracer.probe());
    let untimed = summary.histograms.as_ref().map(|all| all.untimed).unwrap_or_default();
    let end = Report::End(summary);
    drop(tracer);
    record::finish(output, end, recorder, &mut signals, &program).await?;
    program.wait(ending, &mut signals).await;
    warn(untimed, arguments.max_sockets);
    Ok(program.exit_code(0))
}

/// Returns the view for the reports.
fn view(arguments: &Arguments) -> Box<dyn View + Send> {
    let sections = || arguments.of.clone().unwrap_or_else(|| Section::ALL.to_vec());
    match arguments.format.output {
        Format::Table => {
            let table = HistTable::new(arguments.of.clone(), terminal::caps());
            let is_terminal = io::stdout().is_terminal();
            Box::new(if is_terminal { table.on_terminal(terminal::size) } else { table })
        }
        Format::Json => Box::new(HistJson::new(sections())),
        Format::Csv => Box::new(HistCsv::new(sections())),
    }
}

/// A run of `hist` in progress.
struct Run(Tracer, ScanWarner);

impl Paced for Run {
    fn report(&mut self, output: &Output) -> Result<()> {
        self.look()?;
        output.offer(|| anyhow::Ok(Report::Snapshot(self.0.snapshot()?)))
    }

    fn look(&mut self) -> Result<()> {
        self.0.reconcile_if_due(Reconcile::Auto)?;
        self.1.warn(&mut self.0);
        Ok(())
    }
}

/// Reports on stderr how many sockets did not fit into the table, and prints help.
fn warn(untimed: Untimed, most: u32) {
    let untracked = untimed.untracked + untimed.untracked_minis;
    if untracked > 0 {
        eprintln!(
            "tcpstate: {untracked} sockets did not fit into the table: their durations are unknown"
        );
        eprintln!("help: increase --max-sockets from {most}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_flags_conflict_with_replay() {
        refused_by_replay::assert_complete::<Arguments>(&LIVE, &["of", "output"]);
    }
}
