//! Tests the examples in `--help`: each example must print something and exit without an error.

use std::{process, thread};

use tcpstate_tests::{
    netns::Namespace,
    recordings::in_tree,
    traffic::{Family, Listener, shutdown, socket},
};

use super::desk::Desk;

/// The number of examples that run at the same time. To run the examples one by one would take
/// long, because most examples run until Ctrl-C.
const AT_A_TIME: usize = 8;
/// An example that contains one of these texts may print nothing, for example because its output
/// goes to a file.
const MAY_BE_SILENT: [&str; 3] = ["> ", "select(", "tcpstate serve"];

/// Returns the command lines under `Examples:` in the `--help` of each subcommand, without their
/// descriptions.
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
fn examples_of_the_help_run() {
    let _namespace = Namespace::enter();
    // Open connections to a web server and half-close some of them, so that the filters of the
    // examples match sockets.
    let http = socket(Family::V4);
    http.bind(&Family::V4.loopback(80).into()).expect("the port is free in a new namespace");
    let server = Listener::on(Family::V4, http, 16);
    let (clients, _accepted) = server.pairs(7);
    shutdown(&clients[..3]);
    let commands = of_the_help();
    assert!(commands.len() >= 15, "{commands:?}");
    // An example line that contains `...` is incomplete, so the test does not run the line.
    // Examples that start a server use the same port, so these examples run one after another.
    let complete = commands.iter().map(String::as_str).filter(|line| !line.contains("..."));
    let (serving, others): (Vec<&str>, Vec<&str>) =
        complete.partition(|line| line.contains("tcpstate serve"));
    thread::scope(|scope| {
        scope.spawn(|| serving.iter().for_each(|line| assert_good(line)));
        for first in 0..AT_A_TIME {
            let lines = others.iter().skip(first).step_by(AT_A_TIME);
            // A new thread is in the namespace of the thread that starts it.
            scope.spawn(move || lines.for_each(|line| assert_good(line)));
        }
    });
}

/// Runs an example command, and asserts that the command prints output but no error message.
fn assert_good(line: &str) {
    println!("{line}");
    let desk = Desk::new();
    // Write the files that the examples read. An empty file of thresholds keeps the default
    // thresholds.
    desk.write("my.toml", b"");
    if line.contains("replay run.tcps") && line.contains("--connections") {
        let made =
            desk.run("sudo tcpstate trace --connections -d 50ms --record run.tcps", |_| true);
        assert_eq!(made.status, Some(0), "{made:?}");
    } else if !line.contains("--record") {
        let recording = in_tree().into_iter().next().expect("there are recordings");
        desk.write("run.tcps", &std::fs::read(recording).expect("it can be read"));
    }
    // In a container, process 1 may be hidden.
    let command = line.replace("pid:1", &format!("pid:{}", process::id()));
    let typed = desk.run(&command, |_| true);
    assert!(typed.is_good(&command), "{line}: {typed:?}");
    let shows = typed.output.contains(|c: char| c.is_alphanumeric());
    let may_be_silent = MAY_BE_SILENT.iter().any(|reason| line.contains(reason));
    assert!(shows || may_be_silent, "{line}: {typed:?}");
}
