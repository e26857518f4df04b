//! `tcpstate explain`: what states, transitions and the rules of doctor mean, from the program itself, without a kernel to ask.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{stdout, terminal};
use crate::{
    explain,
    view::explain::{Json, Text},
};

/// Explain a state, a transition or a rule of doctor: what it means, what to do
///
/// Without a name: the states as Linux goes through them, drawn, and what can be asked. A state's name is read in every
/// spelling: the kernel's, that of ss, netstat, RFC 9293, and the number of /proc/net/tcp.
#[derive(Debug, Args)]
#[command(
    override_usage = "tcpstate explain [OPTIONS] [STATE | FROM TO | RULE]",
    after_help = "\
Examples:
  tcpstate explain                       the state diagram, and what can be asked
  tcpstate explain TIME_WAIT             a state: who moves it on, and when
  tcpstate explain 08                    the same of CLOSE_WAIT, as /proc/net/tcp has it
  tcpstate explain LISTEN SYN_RECV       a transition: the birth of a connection
  tcpstate explain P1                    a rule of tcpstate doctor: how it knows
  tcpstate explain time-wait -o json     for programs, one object"
)]
pub(super) struct Arguments {
    /// A state; or two, the one before and the one after; or the id of a rule
    #[arg(value_name = "STATE", num_args = 0..=2)]
    what: Vec<String>,

    /// How to show it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Text for people
    Table,
    /// One JSON object
    Json,
}

/// Runs it to its end.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let answer = explain::answer(&arguments.what)?;
    let mut text = Vec::new();
    match arguments.output {
        Format::Table => page().show(&answer, &mut text),
        Format::Json => Json.show(&answer, &mut text),
    }
    .context("lay out the text")?;
    stdout::write(&text).map(|_| ())
}

/// As wide as the terminal, if stdout is one.
fn page() -> Text {
    let is_coloured = terminal::caps().is_some_and(|caps| caps.coloured);
    Text::new(terminal::size().columns.into(), is_coloured)
}
