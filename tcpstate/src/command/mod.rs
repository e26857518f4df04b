//! The subcommands, and what they share: flags, exit status, the way errors are told.

mod bpf_log;
mod check;
mod count;
mod doctor;
mod duration;
mod event_filter;
mod events;
mod explain;
mod family;
mod filter;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hist;
mod live;
#[cfg(feature = "otlp")]
mod otlp;
mod output;
mod pace;
mod record;
mod replay;
mod serve;
mod signals;
mod stdout;
mod talk;
mod terminal;
mod trace;
mod usage;
mod values;
mod verify;

use std::{io, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::{explain as explanations, probe, recording, source::sock_diag, text::escaped};

/// Exact live counts of TCP sockets by state, from eBPF.
#[derive(Debug, Parser)]
#[command(name = "tcpstate", version, arg_required_else_help = true)]
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

/// Something was found wrong.
const FOUND: u8 = 1;
/// It could not be done, bad usage included.
const FAILED: u8 = 2;

/// The command line, for those who write about it: man pages, completions.
#[must_use]
pub fn command_line() -> clap::Command {
    Arguments::command()
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => match usage::lines(&error) {
            None => error.exit(),
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
    outcome.unwrap_or_else(|error| {
        eprintln!("tcpstate: {}", escaped(cause(&error)));
        if let Some(remedy) = remedy(&error) {
            eprintln!("remedy: {remedy}");
        }
        ExitCode::from(FAILED)
    })
}

/// For what waits: an interval, a signal, a client.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("start the runtime")
}

/// What went wrong, on one line. Our own errors name their causes themselves.
fn cause(error: &anyhow::Error) -> String {
    let of_probe = error.downcast_ref::<probe::Error>().map(ToString::to_string);
    let of_list = error.downcast_ref::<sock_diag::Error>().map(ToString::to_string);
    of_probe.or(of_list).unwrap_or_else(|| format!("{error:#}"))
}

/// What the user can do about it.
fn remedy(error: &anyhow::Error) -> Option<String> {
    let of_probe = error.downcast_ref::<probe::Error>().map(probe::Error::remedy);
    let of_list = error.downcast_ref::<sock_diag::Error>().map(sock_diag::Error::remedy);
    let of_doctor = error.downcast_ref::<doctor::Error>().map(|error| error.remedy().into());
    let of_lists = error.is::<verify::ManyLists>().then(|| verify::ManyLists::REMEDY.into());
    let of_events = error.downcast_ref::<events::Conflict>().map(|error| error.remedy().into());
    let of_recording = error.downcast_ref::<recording::Error>().map(|error| error.remedy().into());
    let of_name = error.downcast_ref::<explanations::Error>().map(explanations::Error::remedy);
    let of_serve = error.downcast_ref::<serve::Error>().map(|error| error.remedy().into());
    let of_filter = error.downcast_ref::<event_filter::Error>().map(|error| error.remedy().into());
    let ours = [
        of_probe,
        of_list,
        of_doctor,
        of_name,
        of_lists,
        of_events,
        of_filter,
        of_serve,
        of_recording,
    ];
    if let Some(remedy) = ours.into_iter().flatten().next() {
        return Some(remedy);
    }
    let is_full = error.downcast_ref::<io::Error>()?.kind() == io::ErrorKind::StorageFull;
    is_full.then(|| "make room where stdout goes, or send it elsewhere".into())
}
