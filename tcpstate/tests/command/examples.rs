//! What people are shown to type: each command of the README and of `--help` is run, and does what it is shown for.

use std::{fs, process::Command, thread};

use tcpstate_tests::{
    command::{Finished, run},
    netns::Namespace,
    recordings::in_tree,
    traffic::{Family, Listener, shutdown, socket},
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// Runs a line as a shell would, in a folder that goes. What runs until Ctrl-C gets one after some seconds, and nobody
/// else on the line does; `check` ends by itself.
fn type_in(line: &str) -> Finished {
    let seconds = if line.contains("tcpstate check") { 60 } else { 4 };
    let bounded = format!("timeout --preserve-status --signal=INT {seconds} {TCPSTATE}");
    // The first process may be one that nobody may caps at.
    let somebody = format!("pid:{}", std::process::id());
    // Who runs this is root already.
    let words = line.split(' ').filter(|word| *word != "sudo").map(|word| match word {
        "tcpstate" | "target/release/tcpstate" => bounded.as_str(),
        "pid:1" => somebody.as_str(),
        _ => word,
    });
    let folder = tempfile::tempdir().expect("there is room for a folder");
    // A file that readers bring; empty, it changes nothing.
    fs::write(folder.path().join("my.toml"), "").expect("the folder is ours");
    if !line.contains("--record") {
        let recording = in_tree().into_iter().next().expect("there are recordings");
        fs::copy(recording, folder.path().join("run.tcps")).expect("the folder is ours");
    }
    let line = words.collect::<Vec<_>>().join(" ");
    // Several serve at a time, each on a port of its own unless it is shown to be on another.
    let any_port = ("TCPSTATE_LISTEN", "127.0.0.1:0");
    run(Command::new("sh").args(["-c", &line]).current_dir(&folder).envs([any_port]))
}

/// The lines of the README's shell blocks.
fn of_the_readme() -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let blocks =
        readme.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// The lines under `Examples:` in the `--help` of each subcommand, without the words beside them.
fn of_the_help() -> Vec<String> {
    let mut lines = Vec::new();
    for subcommand in tcpstate::command::command_line().get_subcommands() {
        let name = subcommand.get_name();
        let help =
            subcommand.get_before_long_help().unwrap_or_else(|| panic!("{name} has no examples"));
        let help = help.to_string();
        let examples = help.split_once("Examples:\n").expect("they are under their heading").1;
        lines.extend(examples.lines().take_while(|line| !line.is_empty()).map(|line| {
            let command = line.trim_start();
            command.split_once("  ").map_or(command, |(command, _)| command).to_owned()
        }));
    }
    lines
}

#[test]
fn examples_of_the_readme_run() {
    let _namespace = Namespace::enter();
    let commands = of_the_readme();
    // The tests themselves are the one command that this can't run.
    let (tests, others): (Vec<&String>, Vec<&String>) =
        commands.iter().partition(|line| line.starts_with("cargo xtask"));
    assert_eq!(tests, ["cargo xtask test"]);
    assert!(others.len() >= 3, "{others:?}");
    let lines = others.into_iter().map(|line| line.trim_start_matches("cargo build --release && "));
    assert_all_good(lines);
}

#[test]
fn examples_of_the_help_run() {
    let _namespace = Namespace::enter();
    // Something for filters to find: a web server, and some of its connections half closed.
    let http = socket(Family::V4);
    http.bind(&Family::V4.loopback(80).into()).expect("the port is free in a new namespace");
    let server = Listener::on(Family::V4, http, 16);
    let (clients, _accepted) = server.pairs(7);
    shutdown(&clients[..3]);
    let commands = of_the_help();
    assert!(commands.len() >= 15, "{commands:?}");
    // One that leaves something out for readers to fill in can't be run as it stands.
    assert_all_good(commands.iter().map(String::as_str).filter(|line| !line.contains("...")));
}

/// Asserts that each is good, some at a time: most run until they are reported to end.
fn assert_all_good<'a>(lines: impl Iterator<Item = &'a str>) {
    const AT_A_TIME: usize = 8;
    // Those that serve take the same port, one after another.
    let (serving, lines): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.contains("tcpstate serve"));
    thread::scope(|scope| {
        scope.spawn(move || serving.into_iter().for_each(assert_good));
        for first in 0..AT_A_TIME {
            // A thread is born into the namespace of the one that starts it.
            let lines = lines.iter().skip(first).step_by(AT_A_TIME);
            scope.spawn(move || lines.for_each(|line| assert_good(line)));
        }
    });
}

/// Asserts that a command says something, and nothing of an error.
fn assert_good(line: &str) {
    println!("{line}");
    let typed = type_in(line);
    // What they find is a result, not an error.
    let finders = ["tcpstate check", "tcpstate doctor"];
    let found_something =
        finders.iter().any(|finder| line.contains(finder)) && typed.status == Some(1);
    assert!(typed.status == Some(0) || found_something, "{line}: {typed:?}");
    assert!(!typed.stderr.contains("error") && !typed.stderr.contains("not found"), "{typed:?}");
    // It may go elsewhere, or have nothing of what is asked for.
    let may_be_silent =
        ["> ", "select(", "tcpstate serve"].iter().any(|reason| line.contains(reason));
    let shows = typed.stdout.contains(|c: char| c.is_alphanumeric());
    assert!(shows || may_be_silent, "{line}: {typed:?}");
}
