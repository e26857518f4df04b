//! The subcommands, and their shared flags, exit statuses and error messages.

mod background;
mod bpf_log;
mod by;
mod check;
mod chunks;
mod color;
mod connections;
mod count;
mod doctor;
mod duration;
mod environment;
mod event_filter;
mod events;
mod explain;
mod family;
mod filter;
mod foreground;
mod full;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod help;
mod hist;
mod keys;
#[cfg(feature = "otlp")]
mod otlp;
mod output;
mod owners;
mod pace;
mod privileges;
mod program;
mod record;
mod refused_by_replay;
mod replay;
mod scan_warner;
mod serve;
mod signals;
mod span;
mod stdout;
mod terminal;
mod trace;
mod usage;
mod user;
mod values;
mod verify;
mod warnings;

use std::{
    borrow::Cow,
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::{
    error::Help, explain as explanations, probe, recording, source::sock_diag, text::escaped,
};

/// Exact live counts of TCP sockets by state, and every transition, from eBPF
#[derive(Debug, Parser)]
#[command(
    name = "tcpstate",
    version,
    arg_required_else_help = true,
    before_help = "\
Examples:
  tcpstate count                count the sockets of this host by state
  sudo tcpstate trace           show gauges and rates, every second
  sudo tcpstate trace --events  print one line for each transition
  sudo tcpstate doctor          find problems with TCP, and how to fix them
  tcpstate explain TIME_WAIT    explain a state, a transition or a rule
  tcpstate check                show what works on this kernel",
    after_help = "Run `tcpstate COMMAND -h` for the flags of a command."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Trace(Box<trace::Arguments>),
    Hist(Box<hist::Arguments>),
    Replay(replay::Arguments),
    Count(count::Arguments),
    Check(check::Arguments),
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
    Serve(serve::Arguments),
}

/// The exit status if a problem was found.
const FOUND: u8 = 1;
/// The exit status if the command failed or its usage was wrong.
const FAILED: u8 = 2;

/// Returns the command line. Man pages and completions are generated from the returned value.
#[must_use]
pub fn command_line() -> clap::Command {
    help::lay_out(Arguments::command())
}

/// Parses the words of a command line. The first word is the name of the program.
fn parse(words: impl Iterator<Item = OsString> + Clone) -> Result<Arguments, clap::Error> {
    let matches =
        command_line().color(color::of_help(words.clone())).try_get_matches_from(words)?;
    color::choose(&matches);
    Arguments::from_arg_matches(&matches)
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    // The stack may be too small for the functions that `run_prepared` calls.
    match environment::prepare() {
        Ok(()) => run_prepared(),
        Err(error) => fail(&error.into()),
    }
}

#[inline(never)]
fn run_prepared() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let arguments = match parse(words.iter().cloned()) {
        Ok(arguments) => arguments,
        Err(error) => match usage::lines(&error, &words) {
            None => return print_help(&error),
            Some(lines) => {
                eprintln!("{}", lines.join("\n"));
                return ExitCode::from(FAILED);
            }
        },
    };
    let outcome = match arguments.command {
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Hist(arguments) => hist::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Count(arguments) => count::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Serve(arguments) => serve::run(&arguments),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

/// Prints the help or the version. A reader that closes its end of a pipe has read enough.
fn print_help(text: &clap::Error) -> ExitCode {
    let printed = text.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(&anyhow::Error::new(error).context("cannot write to stdout"))
        }
        _ => ExitCode::from(if text.use_stderr() { FAILED } else { 0 }),
    }
}

/// Prints an error. Returns the exit status of errors.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("tcpstate: {}", escaped(cause(error)));
    eprintln!("help: {}", help(error));
    ExitCode::from(FAILED)
}

/// Creates the runtime for timers, signals and clients.
fn runtime() -> Result<Runtime> {
    environment::check_files().context("cannot start the runtime")?;
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// Returns the message of an error as one line. The errors of tcpstate already contain their
/// causes.
fn cause(error: &anyhow::Error) -> String {
    error.chain().find_map(ours).map_or_else(|| format!("{error:#}"), ToString::to_string)
}

/// Returns the help line of an error.
fn help(error: &anyhow::Error) -> Cow<'static, str> {
    if let Some(ours) = error.chain().find_map(ours) {
        return ours.help();
    }
    let io = error.downcast_ref::<io::Error>();
    if let Some(help) = io.and_then(probe::help_of_limit) {
        return help.into();
    }
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull) => {
            "free space on the disk of stdout, or redirect stdout to another disk"
        }
        Some(io::ErrorKind::FileTooLarge) => {
            "raise the limit of file sizes (ulimit -f unlimited), or use another disk"
        }
        _ => "report this with the output of `tcpstate check`",
    }
    .into()
}

/// An error of any type, as `anyhow` returns it from a chain of causes.
type Cause = dyn std::error::Error + 'static;

/// A function that returns the help of an error, if the error has the type that the function checks
/// for.
type FindHelp = fn(&Cause) -> Option<&dyn Help>;

/// Returns the help of an error whose type tcpstate defines. An error of another type has no help.
fn ours(error: &Cause) -> Option<&dyn Help> {
    fn of<E: Help + 'static>(error: &Cause) -> Option<&dyn Help> {
        error.downcast_ref::<E>().map(|error| error as &dyn Help)
    }
    let types: [FindHelp; 14] = [
        of::<environment::Error>,
        of::<probe::Error>,
        of::<sock_diag::Error>,
        of::<recording::Error>,
        of::<explanations::Error>,
        of::<doctor::Error>,
        of::<connections::Error>,
        of::<event_filter::Error>,
        of::<full::Error>,
        of::<events::Conflict>,
        of::<owners::Error>,
        of::<program::Error>,
        of::<serve::Error>,
        of::<verify::ManyLists>,
    ];
    types.into_iter().find_map(|of| of(error))
}
