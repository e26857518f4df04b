//! The subcommands, and what they share: flags, exit status, the way errors are told.

mod bpf_log;
mod duration;
mod output;
mod terminal;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{probe, view::escaped};

/// Exact live counts of TCP sockets by state, from eBPF.
#[derive(Debug, Parser)]
#[command(name = "tcpstate", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Trace(trace::Arguments),
}

/// It could not be done, bad usage included.
const FAILED: u8 = 2;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Trace(arguments) => trace::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcpstate: {}", escaped(format!("{error:#}")));
            if let Some(cause) = error.downcast_ref::<probe::Error>() {
                eprintln!("remedy: {}", cause.remedy());
            }
            ExitCode::from(FAILED)
        }
    }
}
