//! The command line tool, whose code is all in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpstate::command::run()
}
