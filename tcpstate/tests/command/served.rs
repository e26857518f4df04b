//! Functions for tests that run `tcpstate serve`.

use std::process::Command;

pub(crate) use tcpstate_tests::served::{
    Metrics, PATIENCE, Server, metrics, program, without_listeners,
};

/// Returns a command that runs `tcpstate serve` on a port that the kernel chooses.
pub(crate) fn serve(arguments: &[&str]) -> Command {
    tcpstate_tests::served::serve(env!("CARGO_BIN_EXE_tcpstate"), arguments)
}
