//! `--replay` and `tcpstate replay`: show a recording instead of a live kernel.

mod cut;

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::{
    signal::unix::{Signal, SignalKind},
    task::yield_now,
    time::{Instant, sleep_until},
};

use self::cut::Cut;
use super::{
    FAILED,
    chunks::Chunks,
    connections, foreground,
    help::{ADVANCED, INPUT},
    keys::{self, Key, Keys},
    owners::OrderFlags,
    privileges, runtime,
    signals::{Signals, end_if_blocked, listen},
    span::Span,
    values,
};
use crate::{
    error::Help as _,
    filter::ConnectionFilter,
    recording::{self, Part, Record, Recording, Timed},
    view::{ConnectionCsv, Csv, EventCsv, Json, View, show_part},
};

/// The flags for replaying a recording.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Replay speed: 1, 10 or full
    ///
    /// Replay speed: 1 is the recorded speed, 10 is ten times the recorded speed, and full has no
    /// pauses. The default is 1 if the terminal is repainted, else full.
    #[arg(long, value_name = "SPEED", requires = "replay", value_parser = parse_speed, help_heading = INPUT)]
    speed: Option<Speed>,

    #[command(flatten)]
    span: Span,

    #[command(flatten)]
    memory: MemoryFlag,
}

impl Flags {
    /// Returns the maximum memory in bytes for a record.
    pub(super) fn max_memory(&self) -> u64 {
        self.memory.max_replay_memory
    }
}

/// The flag that limits the memory of a replay.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct MemoryFlag {
    /// Memory for a record [default: 64M]
    ///
    /// Maximum memory for decoding a record, such as 256M or 1G. The limit protects from recordings
    /// that were made to use up the memory. Larger values also allow files that expand more.
    #[arg(long, value_name = "SIZE", requires = "replay", default_value = "64M", hide_default_value = true, value_parser = values::size, help_heading = ADVANCED)]
    pub(super) max_replay_memory: u64,
}

/// The replay speed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    /// A multiple of the recorded speed: 2 is twice the recorded speed.
    Times(f64),
    /// No pauses.
    Full,
}

fn parse_speed(text: &str) -> Result<Speed, &'static str> {
    const EXPECTED: &str = "expected a number from 0.001 to 1000, or full";
    if text == "full" {
        return Ok(Speed::Full);
    }
    let times = text.parse().ok().filter(|times| (0.001..=1000.0).contains(times));
    times.map(Speed::Times).ok_or(EXPECTED)
}

/// Print a recording as JSON or CSV
///
/// Prints everything that `trace --record` or `hist --record` wrote, without pauses and without
/// privileges. `tcpstate trace --replay FILE` shows a recording as a table, at the recorded speed.
#[derive(Debug, Args)]
#[command(
    before_long_help = "\
Examples:
  tcpstate replay run.tcps -o json             all lines of trace
  tcpstate replay run.tcps -o csv > run.csv    a row per state or group
  tcpstate replay run.tcps -o csv --events     a row per event
  tcpstate replay run.tcps -o csv --connections
  tcpstate replay run.tcps -o json --from 5m --until 6m
  sudo tcpstate trace --events -i 1s --record run.tcps",
    after_long_help = "\
Exit status: 0 if the whole file was read, 2 if it is damaged. The part before the
damage is printed."
)]
pub(super) struct Arguments {
    /// Recording, or the file of a recording to begin with
    // The id is the id of `--replay` of other commands, because the flags of replays require this
    // id.
    #[arg(id = "replay", value_name = "FILE")]
    file: PathBuf,

    /// Output format: json or csv
    #[arg(
        short,
        long,
        alias = "to",
        value_enum,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    output: Format,

    /// Print events instead of states, which needs -o csv
    #[arg(long)]
    events: bool,

    /// Print connections instead of states, which needs -o csv
    #[arg(long, conflicts_with = "events")]
    connections: bool,

    #[command(flatten)]
    order: OrderFlags,

    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One JSON object per line
    Json,
    /// A row per state and snapshot, per group and snapshot, or per event
    Csv,
}

/// Runs `tcpstate replay`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Arguments { file, output, events, connections, order, flags } = arguments;
    privileges::drop_before_reading(file)?;
    let recording = Recording::open(file, flags.max_memory())?;
    let order = order.order();
    if *connections {
        connections::require_recorded(file, recording.part())?;
    }
    let view: Box<dyn View + Send> = match output {
        Format::Json => Box::new(Json::new(order, recording.part().lines())),
        Format::Csv if *events => Box::new(EventCsv),
        Format::Csv if *connections => Box::new(ConnectionCsv),
        Format::Csv => Box::new(Csv::new(recording.part().by.clone(), order)),
    };
    let mut begin = Vec::new();
    if let Format::Json = output {
        show_part(recording.part(), &mut begin)?;
    }
    let settings = ReplaySettings {
        usual: Speed::Full,
        is_painted: false,
        filter: ConnectionFilter::default(),
    };
    show(recording, flags, view, settings, begin)
}

/// Shows a recording in a view, which may depend on the description of the recording. The default
/// speed is the recorded speed if the terminal is repainted, else full. Only connections that match
/// the filter are shown.
pub(super) fn show_as(
    file: &Path,
    flags: &Flags,
    is_painted: bool,
    filter: ConnectionFilter,
    view: impl FnOnce(&Part) -> Result<Box<dyn View + Send>>,
) -> Result<ExitCode> {
    privileges::drop_before_reading(file)?;
    let usual = if is_painted { Speed::Times(1.0) } else { Speed::Full };
    let recording = Recording::open(file, flags.max_memory())?;
    let view = view(recording.part())?;
    show(recording, flags, view, ReplaySettings { usual, is_painted, filter }, Vec::new())
}

/// The settings of a replay.
#[derive(Clone, Debug)]
struct ReplaySettings {
    /// The speed if `--speed` is not given.
    usual: Speed,
    /// Whether the terminal is repainted.
    is_painted: bool,
    filter: ConnectionFilter,
}

fn show(
    recording: Recording,
    flags: &Flags,
    view: Box<dyn View + Send>,
    settings: ReplaySettings,
    begin: Vec<u8>,
) -> Result<ExitCode> {
    runtime()?.block_on(async {
        end_if_blocked(keys::restorer(settings.is_painted));
        let keys = Keys::start(settings.is_painted)?;
        let player = Player {
            out: Chunks::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            view: foreground::only(keys.with_help(view), settings.is_painted),
            keys,
            signals: Signals::of_run()?,
            resized: listen(SignalKind::window_change())?,
            pace: Pace { speed: flags.speed.unwrap_or(settings.usual), began: None },
            cut: Cut::new(flags.span, settings.filter),
        };
        player.play(recording, begin).await
    })
}

/// Reports on stderr which data is missing from a recording. The recording was read to its end or
/// to the first damage. Returns the exit status if the recording is damaged.
pub(super) fn report_end(
    recording: &Recording,
    failure: Option<&recording::Error>,
) -> Option<ExitCode> {
    if recording.unknown() > 0 {
        eprintln!(
            "tcpstate: skipped {} records of kinds that this version does not know",
            recording.unknown()
        );
    }
    if let Some(skipped) = recording.skipped() {
        eprintln!("tcpstate: skipped {}: {}", skipped.file.display(), skipped.cause);
    }
    if let Some(error) = failure {
        eprintln!("tcpstate: {error}\nhelp: {}", error.help());
        return Some(ExitCode::from(FAILED));
    }
    if !recording.has_ended() {
        let file = recording.file().display();
        eprintln!(
            "tcpstate: the recording {file} has no end: its tcpstate was killed, or still writes it"
        );
    }
    None
}

/// Whether the replay continues after a record was shown.
enum Next {
    /// The replay continues with the next record.
    Continue,
    /// The user has quit, or the reader of stdout has closed the pipe.
    Stop,
}

struct Player {
    out: Chunks<File>,
    view: Box<dyn View>,
    keys: Keys,
    signals: Signals,
    resized: Signal,
    pace: Pace,
    cut: Cut,
}

impl Player {
    async fn play(mut self, mut recording: Recording, begin: Vec<u8>) -> Result<ExitCode> {
        if let Next::Stop = self.write(&begin)? {
            return Ok(ExitCode::SUCCESS);
        }
        let failure = loop {
            match recording.next_record() {
                Err(error) => break Some(error),
                Ok(None) => break None,
                Ok(Some(timed)) => {
                    if let Next::Stop = self.show(timed).await? {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
        };
        Ok(report_end(&recording, failure.as_ref()).unwrap_or(ExitCode::SUCCESS))
    }

    /// Waits until the time of a record, then shows the record.
    async fn show(&mut self, timed: Timed) -> Result<Next> {
        let Timed { at, record } = timed;
        let Some(record) = self.cut.of(record) else { return Ok(Next::Continue) };
        let moment = self.pace.moment(at);
        loop {
            tokio::select! {
                biased;
                () = self.signals.next() => return Ok(Next::Stop),
                key = self.keys.next() => {
                    match key {
                        Key::Quit => return Ok(Next::Stop),
                        Key::Help => self.keys.toggle_help(),
                        Key::Resumed => {}
                    }
                    if let Next::Stop = self.redraw()? {
                        return Ok(Next::Stop);
                    }
                }
                _ = self.resized.recv() => {
                    if let Next::Stop = self.redraw()? {
                        return Ok(Next::Stop);
                    }
                }
                () = wait(moment) => break,
            }
        }
        let shown = match record {
            Record::Report(report) => self.view.show(&report, &mut self.out),
            Record::Events(events) => self.view.show_events(&events, &mut self.out),
        };
        self.written(shown)
    }

    fn redraw(&mut self) -> Result<Next> {
        let redrawn = self.view.redraw(&mut self.out);
        self.written(redrawn)
    }

    fn write(&mut self, text: &[u8]) -> Result<Next> {
        let written = self.out.write_all(text);
        self.written(written)
    }

    /// Writes the rest of the output of a view.
    fn written(&mut self, written: io::Result<()>) -> Result<Next> {
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => Ok(Next::Continue),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Next::Stop),
            Err(error) => Err(error).context("cannot write to stdout"),
        }
    }
}

async fn wait(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        // The replay does not wait, but gives the runtime a chance to handle signals.
        None => yield_now().await,
    }
}

/// The pace of a replay: computes when each record is shown.
struct Pace {
    speed: Speed,
    /// The time at which the first record after the start line was shown, and the recorded time of
    /// that record.
    began: Option<(Instant, Duration)>,
}

impl Pace {
    /// Returns when to show a record that was recorded at the time `at`. `None` means that the
    /// record is shown at once.
    fn moment(&mut self, at: Duration) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let (began, first) = *self.began.get_or_insert((Instant::now(), at));
        Some(began + at.saturating_sub(first).div_f64(times))
    }
}
