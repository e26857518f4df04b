//! `tcpstate doctor`: finds problems and names the commands that fix them, without privileges and
//! without BPF.

use std::{
    borrow::Cow,
    cmp::Ordering,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::time::{Instant, interval, sleep_until};

use super::{
    duration,
    help::{INPUT, OUTPUT},
    privileges, replay, runtime,
    signals::Signals,
    span::Span,
    stdout::{self, Format, OutputFlag, Reader},
    terminal,
};
use crate::{
    doctor::{
        Facts, Finding, Level, Opening, Paths, Thresholds, diagnose,
        facts::Recorded,
        thresholds::{self, DEFAULTS},
    },
    error::Help,
    files,
    recording::{self, Record, Recording},
    report::{Counted, Report, Snapshot},
    view::doctor::{Csv, DoctorView, Json, Table},
};

/// Find problems with TCP on this system, and how to fix them
///
/// Reads the counters and settings of the kernel twice, the sockets once, and the sysctl files.
/// Each finding shows the measured numbers and a command that fixes the problem. doctor changes
/// nothing, needs neither privileges nor BPF, and works in a container. If a rule cannot read its
/// numbers, its finding has the level `unknown`. Ctrl-C shortens the time between the two readings.
///
/// --replay reads a recording of `trace` or `hist` instead: the growth of the counters, and the
/// settings of the recorded system. The findings of rules that need single sockets, sysctl files or
/// other counters have the level `unknown`.
#[derive(Debug, Args)]
#[command(
    before_long_help = "\
Examples:
  tcpstate doctor                           the worst problem first
  sudo tcpstate doctor                      also the programs of other users
  tcpstate doctor -i 30s --fail-on crit     a health check
  tcpstate doctor -o json | jq -r .summary  one object per line, for programs
  tcpstate doctor --replay run.tcps         a recording, on any machine
  tcpstate doctor --sysctl-root /host       in a container with its host's files
  tcpstate doctor --print-thresholds > my.toml && tcpstate doctor --thresholds my.toml",
    after_long_help = "\
Exit status, also after Ctrl-C: 0 if no finding reaches --fail-on, 1 if one does,
2 if doctor could not run.
`tcpstate explain P1` explains a rule."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    span: Span,

    #[command(flatten)]
    memory: replay::MemoryFlag,

    /// Time between the two readings
    ///
    /// Time between the two readings of the counters, at least 50ms.
    #[arg(short, long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    interval: Duration,

    #[command(flatten)]
    format: OutputFlag,

    /// Also show the rules that found no problem
    #[arg(short, long)]
    all: bool,

    /// Lowest level that causes exit status 1
    ///
    /// Lowest level that causes exit status 1: info, warn or crit.
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        default_value = "warn",
        hide_possible_values = true
    )]
    fail_on: FailOn,

    /// Show a recording instead of this system
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interval", "sysctl_root"])]
    replay: Option<PathBuf>,

    /// TOML file with thresholds
    ///
    /// TOML file with thresholds. A threshold that is not in the file keeps its default.
    #[arg(long, value_name = "FILE", help_heading = INPUT)]
    thresholds: Option<PathBuf>,

    /// Print the default thresholds as TOML
    #[arg(long, help_heading = OUTPUT)]
    print_thresholds: bool,

    /// Root folder for sysctl files
    ///
    /// Folder that replaces / in the paths of the sysctl files, such as /etc/sysctl.conf.
    #[arg(long, value_name = "FOLDER", default_value = "/", help_heading = INPUT)]
    sysctl_root: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Info,
    Warn,
    Crit,
}

impl FailOn {
    fn level(self) -> Level {
        match self {
            Self::Info => Level::Info,
            Self::Warn => Level::Warn,
            Self::Crit => Level::Crit,
        }
    }
}

/// The errors of `tcpstate doctor`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read {}: {why}", .file.display())]
    Read { file: PathBuf, why: io::Error },
    #[error("cannot parse {}: {why}", .file.display())]
    Parse { file: PathBuf, why: thresholds::Error },
    #[error("cannot diagnose the recording {}: it has no snapshot in the selected time", .file.display())]
    NoSnapshot { file: PathBuf },
    #[error("cannot diagnose the recording {}: it counts all network namespaces together", .file.display())]
    ManyNamespaces { file: PathBuf },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Read { .. } => "choose an existing file that this user may read",
            Self::Parse { .. } => {
                "compare the file with the output of tcpstate doctor --print-thresholds"
            }
            Self::NoSnapshot { .. } => {
                "leave out --from and --until, or record again with a shorter --interval"
            }
            Self::ManyNamespaces { .. } => {
                "record one namespace with --netns NAME or --netns pid:N"
            }
        };
        help.into()
    }
}

/// Runs `tcpstate doctor`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.print_thresholds {
        return write(DEFAULTS.as_bytes(), ExitCode::SUCCESS);
    }
    let thresholds = read_thresholds(arguments)?;
    let (facts, read) = match &arguments.replay {
        Some(file) => {
            privileges::drop_before_reading(file)?;
            let (facts, read) = recorded(file, arguments)?;
            (facts, Some(read))
        }
        None => (seen(arguments)?, None),
    };
    let findings = diagnose(&facts, &thresholds);
    let mut text = Vec::new();
    view(arguments).show(&findings, &mut text).context("cannot show the findings")?;
    let status = status(&findings, arguments.fail_on.level());
    let written = write(&text, status)?;
    let damaged = read
        .and_then(|Read { recording, failure }| replay::report_end(&recording, failure.as_ref()));
    Ok(damaged.unwrap_or(written))
}

/// Reads the facts of this system.
fn seen(arguments: &Arguments) -> Result<Facts> {
    privileges::confine()?;
    privileges::keep_for_processes()?;
    let opening = Opening::read(Paths { root: arguments.sysctl_root.clone(), ..Paths::default() });
    runtime()?.block_on(wait(arguments.interval))?;
    let facts = opening.close().context("cannot read the version of the kernel")?;
    privileges::keep(&[])?;
    Ok(facts)
}

/// A recording that was read to its end, or to the first damage.
struct Read {
    recording: Recording,
    /// The error at the damage, if the recording is damaged after its first snapshot.
    failure: Option<recording::Error>,
}

/// Reads the facts for the rules of doctor from a part of a recording.
fn recorded(file: &Path, arguments: &Arguments) -> Result<(Facts, Read)> {
    let mut recording = Recording::open(file, arguments.memory.max_replay_memory)?;
    let part = recording.part().clone();
    let (mut start, mut before, mut after, mut failure) = (None, None, None, None);
    loop {
        let record = match recording.next_record() {
            Ok(Some(timed)) => timed.record,
            Ok(None) => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        let Record::Report(report) = record else { continue };
        match *report {
            Report::Start(report) => start = Some(report),
            Report::Snapshot(snapshot) | Report::End(snapshot) => {
                let snapshot = without_lists(snapshot);
                let began = start.as_ref().map_or(snapshot.time, |start| start.time);
                match arguments.span.place(began, snapshot.time) {
                    Ordering::Less => before = Some(snapshot),
                    Ordering::Equal => after = Some(snapshot),
                    Ordering::Greater => {}
                }
            }
        }
    }
    let (start, after) = match (start, after, failure) {
        (Some(start), Some(after), damage) => {
            failure = damage;
            (start, after)
        }
        (.., Some(error)) => return Err(error.into()),
        (.., None) => return Err(Error::NoSnapshot { file: file.to_owned() }.into()),
    };
    if start.netns == Counted::All {
        return Err(Error::ManyNamespaces { file: file.to_owned() }.into());
    }
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let (start, before, after) = (&start, before.as_ref(), &after);
    let facts = Facts::recorded(&Recorded { name: &name, part: &part, start, before, after });
    Ok((facts, Read { recording, failure }))
}

/// Drops the lists of a snapshot that no rule reads, because `recorded` keeps two snapshots.
fn without_lists(snapshot: Snapshot) -> Snapshot {
    Snapshot {
        namespaces: None,
        histograms: None,
        close_reasons: None,
        cost: Vec::new(),
        ..snapshot
    }
}

fn read_thresholds(arguments: &Arguments) -> Result<Thresholds, Error> {
    let Some(file) = &arguments.thresholds else { return Ok(Thresholds::default()) };
    let text = files::text(file).map_err(|why| Error::Read { file: file.clone(), why })?;
    Thresholds::parse(&text).map_err(|why| Error::Parse { file: file.clone(), why })
}

fn view(arguments: &Arguments) -> Box<dyn DoctorView> {
    match arguments.format.output {
        Format::Json => Box::new(Json),
        Format::Csv => Box::new(Csv),
        Format::Table => {
            let width = terminal::size().columns.into();
            Box::new(Table { width, all: arguments.all })
        }
    }
}

fn status(findings: &[Finding], fail_on: Level) -> ExitCode {
    // Findings of the level `unknown` never cause exit status 1.
    let fails =
        findings.iter().any(|finding| finding.level != Level::Unknown && finding.level >= fail_on);
    ExitCode::from(u8::from(fails))
}

/// Waits between the two readings, and shows the remaining time on stderr. A signal ends the wait
/// early.
async fn wait(time: Duration) -> Result<()> {
    let mut signals = Signals::new()?;
    let end = Instant::now() + time;
    let mut ticks = interval(Duration::from_secs(1));
    let shows = io::stderr().is_terminal();
    loop {
        tokio::select! {
            biased;
            () = signals.next() => break,
            () = sleep_until(end) => break,
            _ = ticks.tick() => {
                if shows {
                    let left = end.duration_since(Instant::now()).as_secs_f64();
                    eprint!("\rcounters are read twice: {left:.0} s left \x1b[K");
                }
            }
        }
    }
    if shows {
        eprint!("\r\x1b[K");
    }
    Ok(())
}

/// Writes the text. Returns `status`, or success if the reader has closed the pipe.
fn write(text: &[u8], status: ExitCode) -> Result<ExitCode> {
    Ok(match stdout::write(text)? {
        Reader::Reads => status,
        Reader::Gone => ExitCode::SUCCESS,
    })
}
