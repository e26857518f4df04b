//! `tcpstate count`: counts the current sockets by state, without privileges and without BPF.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    num::NonZeroU64,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;

use tcpstate_common::State;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{
    background, by, duration, filter, privileges, runtime,
    signals::Signals,
    stdout::{self, Format, Reader},
    terminal,
    values::NetnsFlag,
};
use crate::{
    aggregate::census::MAX_GROUPS,
    counter::{Counted as Answer, Counter},
    error::Help as _,
    probe::{Netns, relinquish::NAMESPACES},
    report::{
        Counted, Key, Process,
        count::{Lack, total},
    },
    source::owners::Sight,
    text::escaped,
    view::{
        count::{CountView, Csv, Json, Rows, Table},
        repaint,
    },
};

/// Count the current TCP sockets by state
///
/// Reads the sockets from the kernel (sock_diag, as ss does) and needs neither privileges nor BPF.
/// Prints a table on a terminal. In a pipe, prints ten rows STATE<TAB>count, which replace `netstat
/// -n | awk`.
///
/// Filters are combined with AND and evaluated in the kernel. A list such as 80,443 matches each of
/// its items.
#[derive(Debug, Args)]
#[command(
    before_long_help = "\
Examples:
  tcpstate count                                  all ten states
  tcpstate count -i 2s                            again every two seconds
  tcpstate count --local-port 80,443 --by remote  the busiest clients first
  tcpstate count --state close-wait --by process  programs that do not close
  tcpstate count --by container,state             each container and state
  tcpstate count --netns all --by netns           each network namespace
  tcpstate count | awk '$1 == \"TIME_WAIT\" {print $2}'
  tcpstate count -o json                          one object, for programs",
    after_long_help = "\
Groups of --by:
  none              sockets without a process: TIME_WAIT, half-open
  closed meanwhile  sockets that a process closed during the count
  unknown           sockets of a process that this user may not inspect
  other             groups that are not shown, and groups after the first 65536"
)]
pub(super) struct Arguments {
    /// Time between two counts, such as 2s
    ///
    /// Count again at this interval, such as 500ms or 2s. The flag without a value means 1s. By
    /// default, the sockets are counted once.
    #[arg(short, long, alias = "watch", short_alias = 'w', value_name = "TIME", num_args = 0..=1, default_missing_value = "1s", allow_hyphen_values = true, value_parser = duration::parse_interval)]
    interval: Option<Duration>,

    /// Stop after this time, such as 30s or 1h30m
    #[arg(short, long, value_name = "TIME", requires = "interval", allow_hyphen_values = true, value_parser = duration::parse)]
    duration: Option<Duration>,

    /// Stop after N counts
    #[arg(short = 'n', long, value_name = "N", requires = "interval")]
    count: Option<NonZeroU64>,

    /// Output format: table, json or csv
    ///
    /// Output format: table, json or csv. The default is table on a terminal, and rows
    /// STATE<TAB>count in a pipe.
    #[arg(short, long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,

    /// Group by process, remote, local-port or other keys
    ///
    /// Group by one key, or by several keys separated by commas: process, comm, user, cgroup, unit,
    /// container, netns, local-port, remote, remote-port or state.
    #[arg(long, value_name = "KEYS", value_parser = |text: &str| by::parse(text, &Key::ALL))]
    by: Option<by::Keys>,

    /// Number of largest groups to show
    #[arg(long, value_name = "N", default_value = "20", requires = "by", value_parser = top)]
    top: usize,

    #[command(flatten)]
    netns: NetnsFlag,

    #[command(flatten)]
    filter: filter::Flags,
}

fn top(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(top) if (1..=MAX_GROUPS).contains(&top) => Ok(top),
        _ => Err(format!("expected a number from 1 to {MAX_GROUPS}")),
    }
}

/// Runs `tcpstate count`.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    privileges::confine()?;
    let all_namespaces = match &arguments.netns.netns {
        // The sockets of this namespace can be counted without /proc.
        Netns::Own => false,
        other => other.enter()? == Counted::All,
    };
    let by = arguments.by.as_ref().map(|by| by.0.clone());
    let has = |key: fn(&Key) -> bool| by.iter().flatten().any(key);
    if all_namespaces {
        privileges::keep(&NAMESPACES)?;
    } else if has(|key| {
        key.is_of_process() || matches!(key, Key::Cgroup | Key::Unit | Key::Container)
    }) {
        privileges::keep_for_processes()?;
    } else {
        privileges::keep(&[])?;
    }
    let counter = Counter {
        filter: arguments.filter.filter(),
        all_namespaces,
        groups: by.map(|by| (by, arguments.top)),
    };
    let mut show = Show::new(arguments);
    let Some(interval) = arguments.interval else {
        let text = show.text(&counter.count()?)?;
        return stdout::write(&text).map(|_| ());
    };
    let Arguments { duration, count, .. } = *arguments;
    runtime()?.block_on(watch(&counter, show, Repetition { interval, duration, count }))
}

/// The interval between counts, and the limits of a run.
#[derive(Clone, Copy, Debug)]
struct Repetition {
    interval: Duration,
    duration: Option<Duration>,
    count: Option<NonZeroU64>,
}

async fn watch(counter: &Counter, mut show: Show, repetition: Repetition) -> Result<()> {
    let mut signals = Signals::new()?;
    let end = repetition.duration.map(|duration| Instant::now() + duration);
    let mut ticks = interval(repetition.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut left = repetition.count.map_or(u64::MAX, NonZeroU64::get);
    while left > 0 {
        left -= 1;
        tokio::select! {
            biased;
            () = signals.next() => return Ok(()),
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let text = show.text(&counter.count()?)?;
        tokio::select! {
            written = background::run(move || stdout::write(&text)) => {
                if written?? == Reader::Gone {
                    return Ok(());
                }
            }
            // A signal must end the process even if the reader of stdout stalls.
            () = signals.next() => std::process::exit(0),
        }
    }
    Ok(())
}

/// Formats counts as text. At the first count, also prints the limits of the counts on stderr.
struct Show {
    view: Box<dyn CountView>,
    repaints: bool,
    said: bool,
    /// Whether the user asked for sockets in TIME_WAIT.
    asks_for_time_wait: bool,
}

impl Show {
    fn new(arguments: &Arguments) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let view: Box<dyn CountView> = match arguments.output {
            Some(Format::Json) => Box::new(Json),
            Some(Format::Csv) => Box::new(Csv::default()),
            Some(Format::Table) | None if is_terminal => {
                Box::new(Table::on_terminal(terminal::size))
            }
            Some(Format::Table) => Box::new(Table::default()),
            None => Box::new(Rows::default()),
        };
        let is_table = matches!(arguments.output, None | Some(Format::Table));
        let repaints = terminal::caps().is_some() && is_table && arguments.interval.is_some();
        let states = arguments.filter.state;
        let asks_for_time_wait = states.is_some_and(|states| states.contain(State::TimeWait));
        Self { view, repaints, said: false, asks_for_time_wait }
    }

    fn text(&mut self, counted: &Answer) -> Result<Vec<u8>> {
        if !std::mem::replace(&mut self.said, true) {
            say_limits(counted, self.asks_for_time_wait);
        }
        let mut text = Vec::new();
        self.view.show(&counted.count, &mut text).context("cannot show a count")?;
        if !self.repaints {
            return Ok(text);
        }
        let mut frame = Vec::new();
        repaint(&text, terminal::size(), &mut frame).context("cannot show a count")?;
        Ok(frame)
    }
}

/// Prints the reasons why the count or its groups are incomplete. Each reason has a line of help.
fn say_limits(counted: &Answer, asks_for_time_wait: bool) {
    if let Some(error) = &counted.instead_of {
        say(
            &format!("{error}; /proc/net/tcp and tcp6 are read instead, which is slower"),
            &error.help(),
        );
    }
    if counted.unentered > 0 {
        say(
            &format!("{} network namespaces could not be entered", counted.unentered),
            "run tcpstate as root (sudo tcpstate count ...)",
        );
    }
    let Some(groups) = &counted.count.groups else { return };
    let without = |lack| {
        groups.without.iter().find(|(of, _)| *of == lack).map_or([0; 10], |(_, states)| *states)
    };
    let is_of_process = groups.by.iter().any(|key| key.is_of_process());
    let unknown = total(&without(Lack::Unknown));
    if let Some(sight) = counted.sight
        && unknown > 0
    {
        say_unknown(counted, sight, unknown);
    }
    let time_wait = State::GAUGES.into_iter().zip(without(Lack::None));
    let time_wait = time_wait.filter(|(state, _)| *state == State::TimeWait);
    let time_wait: u64 = time_wait.map(|(_, sockets)| sockets).sum();
    if is_of_process && asks_for_time_wait && time_wait > 0 {
        say(
            &format!("{time_wait} sockets in TIME_WAIT have no process any more"),
            "to see which processes make them, run tcpstate trace --by process",
        );
    }
    let beyond = groups.other.beyond;
    if beyond > 0 {
        say(
            &format!(
                "more than {MAX_GROUPS} groups: {beyond} sockets of later groups are in `other`"
            ),
            "select fewer sockets with a filter such as --local-port or --remote",
        );
    }
}

/// Prints why the process of some sockets is unknown, and the program whose listener accepted most
/// of them.
fn say_unknown(counted: &Answer, sight: Sight, sockets: u64) {
    let why = sight.why_unknown();
    let mut line = format!("{sockets} sockets have an unknown process: {why}");
    if let (Sight::All | Sight::Guarded, Some((program, number))) =
        (sight, counted.listeners.first())
    {
        let Process { name, pid } = program;
        let _ = write!(line, "; {name}[{pid}] listens for {number} of them");
    }
    say(&escaped(line), sight.help());
}

fn say(what: &str, help: &str) {
    eprintln!("tcpstate: {what}");
    eprintln!("help: {help}");
}
