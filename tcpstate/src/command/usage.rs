//! Formats errors of usage as two lines, the cause and the help, as for all errors.

use std::ffi::OsString;

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tcpstate_common::State;

use super::{command_line, owners};
use crate::{
    explain,
    nearest::{did_you_mean, nearest},
    text::escaped,
};

/// Returns the lines to print. Returns `None` for a request for help or the version, which clap
/// prints.
pub(super) fn lines(error: &clap::Error, words: &[OsString]) -> Option<[String; 2]> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return None;
    }
    let line = command_line();
    let typed = words.get(1).and_then(|word| word.to_str());
    let refused = Refused { error, subcommand: typed.and_then(|name| line.find_subcommand(name)) };
    let (cause, help) = refused.cause_and_help(&line);
    let lines = [format!("tcpstate: cannot {cause}"), format!("help: {help}")];
    // A message of clap has several lines, and the typed words may contain control characters.
    Some(lines.map(|line| escaped(line.split_whitespace().collect::<Vec<_>>().join(" "))))
}

/// A command line that clap refused.
struct Refused<'a> {
    error: &'a clap::Error,
    /// The subcommand that was typed, if it exists.
    subcommand: Option<&'a Command>,
}

impl Refused<'_> {
    /// Returns the text after `cannot`, and the help. The function is long because it has one case
    /// for each kind of error of clap.
    fn cause_and_help(&self, line: &Command) -> (String, String) {
        let flag = self.strings(ContextKind::InvalidArg).into_iter().next().unwrap_or_default();
        let flag = name(&flag);
        let value = self.strings(ContextKind::InvalidValue).into_iter().next().unwrap_or_default();
        match self.error.kind() {
            ErrorKind::ValueValidation => {
                let why = std::error::Error::source(self.error).map(ToString::to_string);
                let why = why.map_or_else(|| "the value is not valid".to_owned(), expected);
                let help = did_you_mean(&similar_words(flag, &value));
                (
                    format!("use {}: {why}", with_value(flag, &value)),
                    help.unwrap_or_else(|| self.see()),
                )
            }
            ErrorKind::InvalidValue if value.is_empty() => {
                (format!("use {flag}: the value is missing"), self.see())
            }
            ErrorKind::InvalidValue => {
                let values = self.strings(ContextKind::ValidValue);
                let near = nearest(&value, values.iter().map(String::as_str));
                let help = did_you_mean(&near);
                let help = help.unwrap_or_else(|| format!("use one of {}", values.join(", ")));
                (format!("use {}: unknown value", with_value(flag, &value)), help)
            }
            ErrorKind::UnknownArgument if flag.starts_with('-') => {
                let help = did_you_mean(&self.similar_flags(flag));
                (format!("use {flag}: unknown flag"), help.unwrap_or_else(|| self.see()))
            }
            ErrorKind::UnknownArgument => {
                (format!("use {flag}: unexpected argument"), self.see_program(flag))
            }
            ErrorKind::TooManyValues => (format!("use {value}: unexpected argument"), self.see()),
            ErrorKind::InvalidSubcommand => {
                let typed = self.strings(ContextKind::InvalidSubcommand).join(" ");
                let help =
                    did_you_mean(&nearest(&typed, line.get_subcommands().map(Command::get_name)));
                (format!("run {typed}: unknown command"), help.unwrap_or_else(|| self.see()))
            }
            ErrorKind::MissingRequiredArgument => {
                let missing = self.strings(ContextKind::InvalidArg).join(" and ");
                // clap does not name the hyphens before a program.
                let missing = missing.replace("<PROGRAM>...", "-- PROGRAM");
                (format!("run {}: {missing} is missing", self.command()), format!("add {missing}"))
            }
            ErrorKind::ArgumentConflict => {
                let prior = self.strings(ContextKind::PriorArg);
                let prior = prior.iter().map(|prior| name(prior)).collect::<Vec<_>>().join(" and ");
                if prior == flag {
                    (
                        format!("use {flag} twice: the flag has only one value"),
                        format!("leave out one {flag}"),
                    )
                } else {
                    (
                        format!("use {flag} with {prior}: they exclude each other"),
                        format!("leave out {flag} or {prior}"),
                    )
                }
            }
            ErrorKind::InvalidUtf8 => {
                ("read the command line: an argument is not UTF-8".to_owned(), self.see())
            }
            _ => {
                let text = self.error.to_string();
                let text = text.lines().take_while(|line| !line.is_empty());
                let text = text.collect::<Vec<_>>().join(" ");
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                (format!("read the command line: {text}"), self.see())
            }
        }
    }

    fn strings(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    /// Returns the flags of the subcommand that are similar to a typed flag.
    fn similar_flags(&self, flag: &str) -> Vec<String> {
        // A short flag is too short to guess the intended flag.
        if !flag.starts_with("--") {
            return Vec::new();
        }
        let Some(subcommand) = self.subcommand else { return Vec::new() };
        let shown = subcommand.get_arguments().filter(|argument| !argument.is_hide_set());
        let names = shown.filter_map(clap::Arg::get_long);
        nearest(flag, names).into_iter().map(|name| format!("--{name}")).collect()
    }

    fn command(&self) -> String {
        match self.subcommand {
            Some(subcommand) => format!("tcpstate {}", subcommand.get_name()),
            None => "tcpstate".to_owned(),
        }
    }

    /// Returns the help for an unexpected word. If the subcommand can start a program, the word may
    /// be a program.
    fn see_program(&self, word: &str) -> String {
        let has_program = |it: &Command| it.get_arguments().any(|it| it.get_id() == "program");
        let is_program =
            word.starts_with(|first: char| first.is_alphabetic() || "./".contains(first));
        if is_program && self.subcommand.is_some_and(has_program) {
            format!("to start a program, write -- before it: {} -- {word}", self.command())
        } else {
            self.see()
        }
    }

    fn see(&self) -> String {
        format!("see {} --help", self.command())
    }
}

/// Replaces the messages of clap and of the standard library about numbers.
fn expected(why: String) -> String {
    let range = why.split_once(" is not in ").and_then(|(_, range)| range.split_once("..="));
    match (range, why.as_str()) {
        (Some((least, most)), _) => format!("expected a number from {least} to {most}"),
        (None, "invalid digit found in string") => "expected a number".to_owned(),
        (None, "number would be zero for non-zero type") => {
            "expected a number of at least 1".to_owned()
        }
        (None, "number too large to fit in target type") => "the number is too large".to_owned(),
        _ => why,
    }
}

/// Returns the name of a flag without its value: `--interval` for `--interval <TIME>`.
fn name(argument: &str) -> &str {
    argument.split_whitespace().next().unwrap_or_default()
}

/// Returns a flag and its typed value as text, or only the value if the value belongs to no flag.
fn with_value(flag: &str, value: &str) -> String {
    let value = if value.is_empty() { "''" } else { value };
    if flag.starts_with('-') { format!("{flag} {value}") } else { value.to_owned() }
}

/// Returns the accepted words of a flag that are similar to the typed word. Only flags with their
/// own parser are listed here.
fn similar_words(flag: &str, typed: &str) -> Vec<String> {
    let words: &[&str] = match flag {
        "--state" | "--transition" => {
            let unknown = typed.split([',', ':']).find(|word| word.parse::<State>().is_err());
            let states = unknown.map(explain::similar_states).unwrap_or_default();
            // Help texts write states in lower case with hyphens.
            return states.iter().map(|name| name.to_lowercase().replace('_', "-")).collect();
        }
        "--by" => return super::by::similar(typed),
        "--sort" => return owners::similar_columns(typed),
        "--reconcile" => &["auto", "off"],
        "--listen" => &["off"],
        "--speed" => &["full"],
        "--family" => &["all"],
        _ => &[],
    };
    nearest(typed, words.iter().copied()).into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the two lines for a command line.
    fn refused(line: &str) -> [String; 2] {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = super::super::parse(words.clone().into_iter()).expect_err(line);
        lines(&error, &words).unwrap_or_else(|| panic!("{line} is help"))
    }

    #[test]
    fn suggestions_are_close_to_the_typed_word() {
        for (line, expected) in [
            ("tcpstate track", Some("trace")),
            ("tcpstate tarce", Some("trace")),
            ("tcpstate docter", Some("doctor")),
            ("tcpstate bananas", None),
            ("tcpstate trace --intervall 2", Some("--interval")),
            ("tcpstate trace --colour never", Some("--color")),
            ("tcpstate trace --event", Some("--events")),
            ("tcpstate trace --local-prot 443", Some("--local-port")),
            ("tcpstate trace --verbose", None),
            ("tcpstate trace --watch", None),
            ("tcpstate trace --max 3", None),
            ("tcpstate trace -x", None),
            ("tcpstate count --events", None),
            ("tcpstate trace --color nevr", Some("never")),
            ("tcpstate trace --output jsn", Some("json")),
            ("tcpstate trace --reconcile atuo", Some("auto")),
            ("tcpstate trace --family al", Some("all")),
            ("tcpstate count --state time-wai", Some("time-wait")),
            ("tcpstate count --state estab,time_wiat", Some("time-wait")),
            ("tcpstate count --state FIN-WAIT-3", Some("fin-wait1 or fin-wait2")),
            ("tcpstate count --state open", None),
            ("tcpstate trace --transition listen:syn_rcv", Some("syn-recv")),
            ("tcpstate hist --of conect", Some("connect")),
            ("tcpstate hist --by localport", Some("local-port")),
            ("tcpstate trace --by process,remot", Some("remote or remote-port")),
            ("tcpstate trace --by process --sort open", Some("opened")),
            ("tcpstate trace --by process --sort time-wate", Some("time-wait")),
            ("tcpstate trace --by process --sort bananas", None),
            ("tcpstate doctor --fail-on crti", Some("crit")),
            ("tcpstate doctor --fail-on ok", None),
            ("tcpstate serve --listen of", Some("off")),
        ] {
            let [_, help] = refused(line);
            let suggested =
                help.strip_prefix("help: did you mean ").map(|it| it.trim_end_matches('?'));
            assert_eq!(suggested, expected, "{line}: {help}");
        }
    }

    #[test]
    fn bad_usage_names_what_was_typed() {
        for (line, cause) in [
            ("tcpstate trace --interval 0", "use --interval 0: "),
            ("tcpstate trace -i", "use --interval: the value is missing"),
            ("tcpstate hist --max-sockets 0", "use --max-sockets 0: expected a number from 1 to "),
            ("tcpstate hist -i 1 -n 0", "use --count 0: expected a number of at least 1"),
            ("tcpstate hist --max-sockets x", "use --max-sockets x: expected a number"),
            ("tcpstate trace -o xml", "use --output xml: unknown value"),
            ("tcpstate trace 10", "use 10: unexpected argument"),
            ("tcpstate trace -i 1 -i 2", "use --interval twice: the flag has only one value"),
            ("tcpstate hist -n 2", "run tcpstate hist: --interval <TIME> is missing"),
            ("tcpstate replay a", "run tcpstate replay: --output <FORMAT> is missing"),
            ("tcpstate trace --utc --events --monotonic", "use --utc with --monotonic: "),
            ("tcpstate explain a b c", "use c: unexpected argument"),
        ] {
            let [said, _] = refused(line);
            assert!(said.starts_with(&format!("tcpstate: cannot {cause}")), "{line}: {said}");
        }
    }
}
