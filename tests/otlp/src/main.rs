//! Builds the command line tool with the Cargo feature `otlp`. The program has another name than
//! `tcpstate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpstate::command::run()
}
