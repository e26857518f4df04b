//! `tcpstate hist`: how long states, handshakes and connections last, and how often each transition occurs.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, ValueEnum, value_parser};
use tcpstate_common::histogram::By;

use super::{
    duration, event_filter,
    output::Output,
    pace::{Pace, Paced},
    record, refused_by_replay, replay, runtime,
    signals::Signals,
    terminal,
    values::named,
    warnings,
};
use crate::{
    aggregate::Reconcile,
    probe::{HistogramOptions, MAX_GROUPS, MAX_TIMED, Netns, Options},
    recording::{self, Record, Recording, Timed},
    report::{Report, Untimed},
    tracer::Tracer,
    view::{HistCsv, HistJson, HistTable, Section, View},
};

/// Show how long states, handshakes and connections last, as histograms
///
/// Times every state of every TCP socket in the kernel: states, the transitions that leave them, connecting (as client: from connect()
/// to ESTABLISHED; as server: from the SYN to ESTABLISHED), connections from birth to end, TIME_WAIT; with the matrix of
/// transitions of the same run. Shown at the end (Ctrl-C), and each --interval.
///
/// Percentiles are off by 6.25 % at most, from 256 ns to 52 days; counts, minimum, maximum and mean are exact. What nobody saw begin,
/// or of which an event was missed, is counted as unknown and in no bucket.
///
/// Filters run in the kernel, and are of the transition that ends a duration; the matrix has none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo tcpstate hist                           all of them, at Ctrl-C
  sudo tcpstate hist -d 30s --of connect       for 30 s: how long handshakes take
  sudo tcpstate hist -i 10s --of matrix        how often each transition occurs, each 10 s
  sudo tcpstate hist --by local-port           each of them for each port
  sudo tcpstate hist --by remote --of connect  to whom connecting is slow
  sudo tcpstate hist --local-port 443          of this port, decided in the kernel
  sudo tcpstate hist -d 1m -o csv > hist.csv   a row a histogram, for a spreadsheet
  sudo tcpstate hist -d 1m -o json | jq .p99   an object a line, with buckets")]
pub(super) struct Arguments {
    /// Show what ended in each stretch of this length: 500ms, 2s, 1m; a bare number is seconds [default: only the whole run]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    interval: Option<Duration>,

    /// End after this time [default: run until Ctrl-C]
    #[arg(short, long, value_name = "DURATION", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// End after this many intervals
    #[arg(short = 'n', long, value_name = "N", requires = "interval")]
    count: Option<NonZeroU64>,

    /// What to show, one or several; of a table's bars all but those of transitions are usual
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = named(&Section::ALL, Section::name))]
    of: Option<Vec<Section>>,

    /// A histogram for each of these
    #[arg(long, value_name = "WHAT", value_parser = named(&By::ALL, name))]
    by: Option<By>,

    /// With --by: warn so many apart (210 KiB each); those that come later are summed as `other`
    #[arg(long, value_name = "N", requires = "by", default_value_t = MAX_GROUPS, value_parser = value_parser!(u32).range(1..=16_384))]
    max_groups: u32,

    /// Remember so many sockets until their state ends, and so many time-wait sockets (324 bytes each)
    #[arg(long, value_name = "N", default_value_t = MAX_TIMED, value_parser = value_parser!(u32).range(1..=16_777_216))]
    max_sockets: u32,

    /// Which network namespace: self, all, NAME (as in `ip netns`), name:NAME, path:FILE or pid:NUMBER; all is the host
    #[arg(long, value_name = "WHICH", default_value = "self")]
    netns: Netns,

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

    #[command(flatten)]
    unavailable: event_filter::UnavailableConditions,

    // The last, for what follows stands under its heading.
    #[command(flatten)]
    filter: event_filter::Flags,
}

/// What can't be asked of a recording, beside what no command can ask of one.
const LIVE: [&str; 3] = ["by", "max_groups", "max_sockets"];

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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Text for people: percentiles and bars
    Table,
    /// One JSON object a line
    Json,
    /// A row a histogram
    Csv,
}

/// Runs it to its end.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(file) = &arguments.replay {
        require_shown(file, wants_matrix(arguments))?;
        return replay::show_as(file, &arguments.replayed, view(arguments), false);
    }
    runtime()?.block_on(hist(arguments)).map(|()| ExitCode::SUCCESS)
}

/// Whether the matrix was asked for by name.
fn wants_matrix(arguments: &Arguments) -> bool {
    arguments.of.as_ref().is_some_and(|of| of.contains(&Section::Matrix))
}

/// Refuses a recording without durations, and one of some of them if the matrix is wanted, as if it were live. Its first
/// snapshot tells; events are recorded by `trace` alone.
fn require_shown(file: &Path, wants_matrix: bool) -> Result<()> {
    // What a pipe gives is gone once it was read.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let mut recording = Recording::open(file)?;
    // What is damaged before its first snapshot is shown up to there.
    while let Ok(Some(Timed { record, .. })) = recording.next_record() {
        let histograms = match &record {
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

async fn hist(arguments: &Arguments) -> Result<()> {
    arguments.unavailable.refuse()?;
    if let (true, Some(flag)) = (wants_matrix(arguments), arguments.filter.given()) {
        return Err(event_filter::Error::Matrix(flag).into());
    }
    // Before anything is attached, so that a signal at any time ends the run in order.
    let mut signals = Signals::new()?;
    let histograms = HistogramOptions {
        by: arguments.by,
        max_groups: arguments.max_groups,
        max_sockets: arguments.max_sockets,
    };
    let options = Options {
        netns: arguments.netns.clone(),
        family: arguments.filter.family().0,
        event_filter: arguments.filter.filter()?,
        histograms: Some(histograms),
        ..Options::default()
    };
    let mut run = Run(Tracer::start(&options)?);
    warnings::at_start(run.0.probe());
    let recorder = arguments.record.begin(false)?;
    let output = Output::start(record::recorded(view(arguments), recorder.clone()), None);
    output.offer(|| anyhow::Ok(Report::Start(run.0.start_report())))?;
    let Arguments { interval, duration, count, .. } = *arguments;
    Pace { interval, duration, count }.run(&mut run, &output, &mut signals).await?;
    let Run(mut tracer) = run;
    tracer.reconcile_at_end(Reconcile::Auto)?;
    let summary = tracer.summary()?;
    let untimed = summary.histograms.as_ref().map(|all| all.untimed).unwrap_or_default();
    let end = Report::End(summary);
    drop(tracer);
    record::finish(output, end, recorder, &mut signals).await?;
    warn(untimed, arguments.max_sockets);
    Ok(())
}

/// What shows the reports.
fn view(arguments: &Arguments) -> Box<dyn View + Send> {
    let sections = || arguments.of.clone().unwrap_or_else(|| Section::ALL.to_vec());
    match arguments.output {
        Format::Table => Box::new(HistTable::new(arguments.of.clone(), terminal::caps())),
        Format::Json => Box::new(HistJson::new(sections())),
        Format::Csv => Box::new(HistCsv::new(sections())),
    }
}

/// A run that is under way.
struct Run(Tracer);

impl Paced for Run {
    fn report(&mut self, output: &Output) -> Result<()> {
        self.look()?;
        output.offer(|| anyhow::Ok(Report::Snapshot(self.0.snapshot()?)))
    }

    fn look(&mut self) -> Result<()> {
        Ok(self.0.reconcile_if_due(Reconcile::Auto)?)
    }
}

/// Says on stderr what there was no room for, and what would help.
fn warn(untimed: Untimed, most: u32) {
    let untracked = untimed.untracked + untimed.untracked_minis;
    if untracked > 0 {
        eprintln!("tcpstate: no room to remember {untracked} sockets: their durations are unknown");
        eprintln!("help: a larger --max-sockets than {most}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_of_a_kernel_is_not_asked_of_a_recording() {
        refused_by_replay::assert_complete::<Arguments>(&LIVE, &["of", "output"]);
    }
}
