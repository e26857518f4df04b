//! The subcommands, and what they share: flags, exit status, the way errors are told.

mod bpf_log;
mod count;
mod doctor;
mod duration;
mod explain;
mod filter;
mod output;
mod signals;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{explain as explanations, probe, source::sock_diag};

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
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
}

/// It could not be done, bad usage included.
const FAILED: u8 = 2;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Trace(arguments) => trace::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Count(arguments) => count::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("tcpstate: {error:#}");
        let of_probe = error.downcast_ref::<probe::Error>().map(probe::Error::remedy);
        let of_list = error.downcast_ref::<sock_diag::Error>().map(sock_diag::Error::remedy);
        let of_doctor = error.downcast_ref::<doctor::Error>().map(|error| error.remedy().into());
        let of_name = error.downcast_ref::<explanations::Error>().map(explanations::Error::remedy);
        if let Some(remedy) = of_probe.or(of_list).or(of_doctor).or(of_name) {
            eprintln!("remedy: {remedy}");
        }
        ExitCode::from(FAILED)
    })
}
