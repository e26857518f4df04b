//! The layout of `-h` and `--help`: usage, examples, then flags in groups.

use clap::{Arg, ArgAction, Command, builder::StyledStr};

use super::color;

/// The headings of the groups, in the order of their appearance.
pub(super) const INPUT: &str = "Input";
pub(super) const FILTERS: &str = "Filters";
pub(super) const OUTPUT: &str = "Output";
pub(super) const RECORDING: &str = "Recording";
pub(super) const ADVANCED: &str = "Advanced";

/// The maximum width of a line in columns, also on a wider terminal and in a pipe.
const WIDTH: usize = 80;
/// The number of examples in `-h`. `--help` shows all examples.
const FEW: usize = 3;

const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

{before-help}{all-args}{after-help}";

const ROOT_TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// Sets the layout of the help texts of all commands.
pub(super) fn lay_out(command: Command) -> Command {
    let command = command.help_template(ROOT_TEMPLATE).max_term_width(WIDTH);
    command.mut_subcommands(of_subcommand)
}

fn of_subcommand(command: Command) -> Command {
    let has = |heading| command.get_arguments().any(|it| it.get_help_heading() == Some(heading));
    let color = color::flag().help_heading(has(OUTPUT).then_some(OUTPUT));
    let help = help_flag().help_heading(has(ADVANCED).then_some(ADVANCED));
    let examples = command.get_before_long_help().map(few_examples).unwrap_or_default();
    command
        .disable_help_flag(true)
        .arg(color)
        .arg(help)
        .before_help(examples)
        .help_template(TEMPLATE)
        .max_term_width(WIDTH)
}

fn help_flag() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help("Print help; --help prints more")
        .long_help("Print help; -h prints less")
}

/// Returns the heading and the first examples.
fn few_examples(all: &StyledStr) -> String {
    all.to_string().lines().take(1 + FEW).collect::<Vec<_>>().join("\n")
}
