//! Tests the output of `-h` and `--help`: length, width and order.

use std::process::Command;

use tcpstate_tests::command::run;

/// The maximum number of columns of a line.
const WIDTH: usize = 80;

/// Returns the names of all subcommands, and an empty name for `tcpstate` without a subcommand.
fn commands() -> Vec<String> {
    let line = tcpstate::command::command_line();
    let names = line.get_subcommands().map(|command| command.get_name().to_owned());
    [String::new()].into_iter().chain(names).collect()
}

/// Returns the help text that the command writes to a pipe.
fn help(command: &str, flag: &str) -> String {
    let words = command.split_whitespace().chain([flag]);
    let printed = run(Command::new(env!("CARGO_BIN_EXE_tcpstate")).args(words));
    assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{command} {flag}");
    printed.stdout
}

/// Returns the names of the flags that a help text explains, in the order of the text.
fn flags(text: &str) -> Vec<&str> {
    let long = |line: &str| line.split_whitespace().any(|word| word.starts_with("--"));
    let lines = text.lines().filter(|line| line.starts_with("  ") && long(line));
    let lines = lines.filter(|line| line.trim_start().starts_with('-'));
    lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--"))).collect()
}

#[test]
fn help_has_no_line_wider_than_80_columns() {
    for command in commands() {
        let text = help(&command, "-h");
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert!(wide.is_empty(), "{command}: {wide:?}");
    }
}

#[test]
fn help_of_trace_begins_with_usage_examples_and_twelve_flags() {
    let text = help("trace", "-h");
    let first = text.lines().take(24).collect::<Vec<_>>().join("\n");
    assert!(first.contains("Usage: tcpstate trace"), "{first}");
    let examples = first.split_once("Examples:\n").expect("examples have a heading").1;
    let examples = examples.split("\n\n").next().expect("the first paragraph");
    assert_eq!(examples.lines().count(), 3, "{first}");
    assert_eq!(flags(&first).len(), 12, "{first}");
}

#[test]
fn help_of_trace_is_short_and_in_groups() {
    let text = help("trace", "-h");
    assert!(text.lines().count() <= 80, "{text}");
    let groups = ["Options:", "Input:", "Filters:", "Output:", "Recording:", "Advanced:"];
    let found: Vec<&str> = text.lines().filter(|line| groups.contains(line)).collect();
    let missing: Vec<&&str> = groups.iter().filter(|group| !found.contains(group)).collect();
    assert!(missing.is_empty(), "{missing:?} of:\n{text}");
}

#[test]
fn help_begins_with_examples() {
    for flag in ["-h", "--help"] {
        let text = help("", flag);
        let examples = text.find("Examples:").expect("it has examples");
        assert!(examples < text.find("Usage:").expect("it has a usage"), "{text}");
    }
    for command in commands() {
        let text = help(&command, "-h");
        let examples = text.find("Examples:").unwrap_or_else(|| panic!("{command}: {text}"));
        let first = ["Options:", "Arguments:", "Commands:"].iter().filter_map(|it| text.find(it));
        assert!(Some(examples) < first.min(), "{command}: {text}");
    }
}

#[test]
fn help_names_a_thing_or_an_action() {
    let line = tcpstate::command::command_line();
    for command in line.get_subcommands() {
        let name = command.get_name();
        let about = command.get_about().expect("each command has one").to_string();
        assert!(about.chars().count() <= WIDTH && !about.ends_with('.'), "{name}: {about}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let help = argument.get_help().unwrap_or_else(|| panic!("{name}: {argument:?}"));
            let help = help.to_string();
            assert!(help.chars().count() <= WIDTH, "{name}: {help}");
            assert!(!help.starts_with("With ") && !help.ends_with('.'), "{name}: {help}");
            assert!(help.starts_with(char::is_uppercase), "{name}: {help}");
        }
    }
}

#[test]
fn help_takes_one_line_per_flag() {
    for command in commands() {
        let text = help(&command, "-h");
        let wrapped = text
            .lines()
            .skip_while(|line| !line.ends_with("Options:"))
            .filter(|line| line.starts_with("          ") && !line.trim_start().starts_with('-'));
        assert_eq!(wrapped.count(), 0, "{command}: {text}");
    }
}

#[test]
fn help_hides_the_names_of_earlier_versions() {
    let line = tcpstate::command::command_line();
    for (command, old, new) in [
        ("trace", "event-buffer", "max-event-buffer"),
        ("trace", "event-sockets", "max-event-sockets"),
        ("trace", "record-size", "max-record-size"),
        ("trace", "record-files", "max-record-files"),
        ("hist", "record-size", "max-record-size"),
        ("serve", "most-series", "max-series"),
        ("serve", "most-connections", "max-connections"),
        ("serve", "pass-entries", "max-scan-sockets"),
        ("count", "watch", "interval"),
        ("replay", "to", "output"),
    ] {
        let found = line.find_subcommand(command).expect("it is a command");
        let flag = found.get_arguments().find(|flag| flag.get_long() == Some(new));
        let flag = flag.unwrap_or_else(|| panic!("{command} --{new}"));
        let aliases = flag.get_all_aliases().unwrap_or_default();
        assert!(aliases.contains(&old), "{command} --{new}: {aliases:?}");
        assert!(!help(command, "--help").contains(&format!("--{old} ")), "{command} --{old}");
    }
}
