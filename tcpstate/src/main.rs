//! The command line tool. All code of the tool is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpstate::command::run()
}
