//! The command line tool. The library contains all of the code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpstate::command::run()
}
