//! The flag `--color auto|always|never` of every subcommand.

use std::{
    ffi::{OsStr, OsString},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use clap::{Arg, ArgMatches, ColorChoice, ValueEnum, builder::EnumValueParser};

/// The identifier of the flag `--color` in clap.
const ID: &str = "color";

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// Color on a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Color also in pipes and files
    Always,
    /// No color, even on a terminal
    Never,
}

/// The value of `--color`. The value is static because views and the help of clap read this value
/// in many places.
static CHOICE: AtomicU8 = AtomicU8::new(Color::Auto as u8);

/// Returns the flag `--color`.
pub(super) fn flag() -> Arg {
    Arg::new(ID)
        .long(ID)
        .value_name("WHEN")
        .value_parser(EnumValueParser::<Color>::new())
        .default_value("auto")
        .hide_possible_values(true)
        .help("Color: auto, always, never")
        .long_help(
            "Color: auto, always or never. auto uses color on a terminal, unless NO_COLOR is set \
             or TERM is dumb",
        )
}

/// Stores the value of `--color` from the flags of the subcommand.
pub(super) fn choose(matches: &ArgMatches) {
    let chosen = matches.subcommand().and_then(|(_, matches)| matches.get_one::<Color>(ID));
    CHOICE.store(chosen.copied().unwrap_or_default() as u8, Relaxed);
}

/// Returns the stored value of `--color`.
pub(super) fn choice() -> Color {
    let stored = CHOICE.load(Relaxed);
    let mut choices = Color::value_variants().iter().copied();
    choices.find(|&color| color as u8 == stored).unwrap_or_default()
}

/// Returns the value of `--color` for help texts. clap prints help before it has parsed all flags,
/// so this function searches the words of the command line.
pub(super) fn of_help(words: impl Iterator<Item = OsString>) -> ColorChoice {
    let mut words = words.take_while(|word| word != "--");
    while let Some(word) = words.next() {
        let value = if word == "--color" {
            words.next()
        } else {
            word.to_str().and_then(|word| word.strip_prefix("--color=")).map(OsString::from)
        };
        match value.as_deref().and_then(OsStr::to_str) {
            Some("always") => return ColorChoice::Always,
            Some("never") => return ColorChoice::Never,
            _ => {}
        }
    }
    ColorChoice::Auto
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_has_the_color_that_is_asked_for() {
        for (line, expected) in [
            ("trace -h", ColorChoice::Auto),
            ("trace --color never -h", ColorChoice::Never),
            ("trace -h --color=always", ColorChoice::Always),
            ("trace --color auto", ColorChoice::Auto),
            ("trace -- --color never", ColorChoice::Auto),
            ("trace --color", ColorChoice::Auto),
        ] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(of_help(words), expected, "{line}");
        }
    }
}
