//! The command line tool as it is with the feature `otlp`, under a name of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpstate::command::run()
}
