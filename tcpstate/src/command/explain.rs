//! `tcpstate explain`: explains states, transitions, sysctls and rules of doctor. The texts are in
//! the program, so the command reads nothing from the kernel.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{privileges, stdout, terminal};
use crate::{
    explain,
    view::explain::{Json, Text},
};

/// Explain a state, a transition, a sysctl or a rule of doctor
///
/// Without a name, prints the state diagram and all names that can be explained. A state can be
/// written as in the kernel, ss, netstat or RFC 9293, or as the number in /proc/net/tcp.
#[derive(Debug, Args)]
#[command(
    override_usage = "tcpstate explain [OPTIONS] [STATE | FROM TO | SYSCTL | RULE]",
    before_long_help = "\
Examples:
  tcpstate explain TIME_WAIT        a state: its cause, duration and settings
  tcpstate explain LISTEN SYN_RECV  a transition
  tcpstate explain tcp_tw_reuse     a sysctl
  tcpstate explain P1               a rule of tcpstate doctor
  tcpstate explain                  the state diagram, and all names
  tcpstate explain 08               CLOSE_WAIT, as /proc/net/tcp shows it
  tcpstate explain time-wait -o json"
)]
pub(super) struct Arguments {
    /// One state, two states, sysctl or rule id
    #[arg(value_name = "NAME", num_args = 0..=2)]
    what: Vec<String>,

    /// Output format: table or json
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Text
    Table,
    /// One JSON object
    Json,
}

/// Runs `tcpstate explain`.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    privileges::drop_all()?;
    let answer = explain::answer(&arguments.what)?;
    let mut text = Vec::new();
    match arguments.output {
        Format::Table => page().show(&answer, &mut text),
        Format::Json => Json.show(&answer, &mut text),
    }
    .context("cannot print the text")?;
    stdout::write(&text).map(|_| ())
}

/// Returns a text view that is as wide as the terminal. Without a terminal, the view has 80
/// columns.
fn page() -> Text {
    Text::new(terminal::size().columns.into(), terminal::is_coloured())
}
