//! The command line tool with the feature `otlp`, under another name.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpstate::command::run()
}
