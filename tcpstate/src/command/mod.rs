//! The subcommands, and what they share: flags, exit status, the way errors are told.

mod bpf_log;
mod count;
mod duration;
mod filter;
mod output;
mod signals;
mod terminal;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{probe, source::sock_diag, view::escaped};

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
    Count(count::Arguments),
}

/// It could not be done, bad usage included.
const FAILED: u8 = 2;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Count(arguments) => count::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcpstate: {}", escaped(format!("{error:#}")));
            let of_probe = error.downcast_ref::<probe::Error>().map(probe::Error::remedy);
            let of_list = error.downcast_ref::<sock_diag::Error>().map(sock_diag::Error::remedy);
            if let Some(remedy) = of_probe.or(of_list) {
                eprintln!("remedy: {remedy}");
            }
            ExitCode::from(FAILED)
        }
    }
}
