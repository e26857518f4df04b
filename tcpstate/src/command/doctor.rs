//! `tcpstate doctor`: what is wrong, how that is known, and what would mend it; without privilege and without BPF.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::time::{Instant, interval, sleep_until};

use super::{
    duration,
    signals::Signals,
    stdout::{self, Format, Reader},
    terminal,
};
use crate::{
    doctor::{
        Finding, Level, Opening, Places, Thresholds, diagnose,
        thresholds::{self, DEFAULTS},
    },
    view::doctor::{Csv, DoctorView, Json, Table},
};

/// Look for what is wrong with TCP on this system, and say what would mend it
///
/// Reads the kernel's counters and settings twice, the sockets once, and what sysctl files say. Each finding names the
/// numbers that it was found by, and the command that would mend it; nothing is changed. It needs neither privilege nor
/// BPF, and works in a container: what can't be seen is a finding, `unknown`. Ctrl-C ends the wait between the readings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tcpstate doctor                            what is wrong, the worst first
  sudo tcpstate doctor                       the same, with the names of all programs
  tcpstate doctor -i 30s --fail-on crit      for a health check: exit status 1 if something does harm now
  tcpstate doctor -o json | jq -r .summary   for programs, an object a line
  tcpstate doctor --sysctl-root /host        in a container that has its host's files in /host
  tcpstate doctor --print-thresholds > my.toml && tcpstate doctor --thresholds my.toml

Exit status: 0 if nothing is at --fail-on or above, 1 if something is, 2 if it could not be found out.
`tcpstate explain P1` says what a rule means, how it knows and what the kernel does there.")]
pub(super) struct Arguments {
    /// How to show it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    /// Time between the two readings of counters [at least 50ms]
    #[arg(short, long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_interval)]
    interval: Duration,

    /// From which level on the exit status is 1
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warn")]
    fail_on: FailOn,

    /// Show the rules that found nothing in the table, too
    #[arg(short, long)]
    all: bool,

    /// Take thresholds from this TOML file; those that it leaves out stay as they are by default
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,

    /// Print the default thresholds as TOML, and end
    #[arg(long)]
    print_thresholds: bool,

    /// Look for sysctl.conf and sysctl.d under this folder
    #[arg(long, value_name = "FOLDER", default_value = "/")]
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

/// Why thresholds could not be had, and what helps.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("read {}: {why}", .file.display())]
    Read { file: PathBuf, why: io::Error },
    #[error("{}, {why}", .file.display())]
    Parse { file: PathBuf, why: thresholds::Error },
}

impl Error {
    /// What the user can do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name a file that this user may read",
            Self::Parse { .. } => "compare it with: tcpstate doctor --print-thresholds",
        }
    }
}

/// Runs it to its end.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.print_thresholds {
        return write(DEFAULTS.as_bytes(), ExitCode::SUCCESS);
    }
    let thresholds = read_thresholds(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let opening =
        Opening::read(Places { root: arguments.sysctl_root.clone(), ..Places::default() });
    runtime.block_on(wait(arguments.interval))?;
    let facts = opening.close().context("ask the kernel for its version")?;
    let findings = diagnose(&facts, &thresholds);
    let mut text = Vec::new();
    view(arguments).show(&findings, &mut text).context("show the findings")?;
    write(&text, status(&findings, arguments.fail_on.level()))
}

fn read_thresholds(arguments: &Arguments) -> Result<Thresholds, Error> {
    let Some(file) = &arguments.thresholds else { return Ok(Thresholds::default()) };
    let text = fs::read_to_string(file).map_err(|why| Error::Read { file: file.clone(), why })?;
    Thresholds::parse(&text).map_err(|why| Error::Parse { file: file.clone(), why })
}

fn view(arguments: &Arguments) -> Box<dyn DoctorView> {
    match arguments.output {
        Format::Json => Box::new(Json),
        Format::Csv => Box::new(Csv),
        Format::Table => {
            let width = terminal::size().columns.into();
            Box::new(Table { width, all: arguments.all })
        }
    }
}

fn status(findings: &[Finding], fail_on: Level) -> ExitCode {
    // What is unknown is no failure, even if everything is.
    let fails =
        findings.iter().any(|finding| finding.level != Level::Unknown && finding.level >= fail_on);
    ExitCode::from(u8::from(fails))
}

/// Lets the time pass between the two readings, and shows that it does; Ctrl-C makes it short.
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
                    eprint!("\rcounters are read twice: {left:.0} s to go \x1b[K");
                }
            }
        }
    }
    if shows {
        eprint!("\r\x1b[K");
    }
    Ok(())
}

/// Writes it all, then that status.
fn write(text: &[u8], status: ExitCode) -> Result<ExitCode> {
    Ok(match stdout::write(text)? {
        Reader::Reads => status,
        Reader::Gone => ExitCode::SUCCESS,
    })
}
