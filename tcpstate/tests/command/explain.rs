//! Tests the process `tcpstate explain`: exit status, stdout, stderr, pipes and terminals.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use tcpstate_tests::command::{Finished, run};

fn explain(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command.arg("explain").args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

#[test]
fn explain_prints_plain_text_to_a_pipe() {
    for (words, beginning) in [
        (&[][..], "TCP on Linux\n"),
        (&["time-wait"], "TIME_WAIT\n"),
        (&["0A"], "LISTEN\n"),
        (&["LISTEN", "SYN_RECV"], "LISTEN -> SYN_RECV\n"),
        // `explain` succeeds for a transition that never occurs, because "never occurs" is the
        // answer.
        (&["LISTEN", "SYN_SENT"], "LISTEN -> SYN_SENT never occurs\n"),
    ] {
        let Finished { status, stdout, stderr } = run(explain(words).env("TERM", "xterm"));
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{words:?}");
        assert!(stdout.starts_with(beginning), "{words:?}: {stdout}");
        assert!(!stdout.contains('\x1b'), "{words:?}: {stdout}");
        assert!(stdout.lines().all(|line| line.len() <= 80), "{words:?}: {stdout}");
    }
}

#[test]
fn explain_refuses_a_typo_in_two_lines_with_status_2() {
    for (words, lines) in [
        (
            &["TIME_WIAT"][..],
            "tcpstate: cannot explain \"TIME_WIAT\": no state, rule or sysctl has this name\nhelp: did you mean TIME_WAIT?\n",
        ),
        (
            &["LISTEN", "\x1b[2J"],
            "tcpstate: cannot explain \"\\u{1b}[2J\": no state, rule or sysctl has this name\nhelp: run tcpstate explain without arguments for a list of all names\n",
        ),
        (
            &["LISTEN -> CLOSE -> CLOSE"],
            "tcpstate: cannot explain more than two states: \"CLOSE\" is the third\nhelp: run tcpstate explain without arguments for a list of all names\n",
        ),
    ] {
        let Finished { status, stdout, stderr } = run(&mut explain(words));
        assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(2), "", lines));
    }
    for words in [&["LISTEN", "SYN_RECV", "CLOSE"][..], &["-o", "csv"], &["LISTEN", "-o", "xml"]] {
        let Finished { status, stdout, .. } = run(&mut explain(words));
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{words:?}");
    }
}

#[test]
fn explain_ends_on_a_closed_pipe_and_fails_on_a_full_disk() {
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    let Finished { status, stderr, .. } = run(explain(&["-o", "json"]).stdout(writer));
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full exists");
    let Finished { status, stderr, .. } = run(explain(&["LISTEN"]).stdout(full));
    assert_eq!(status, Some(2));
    assert!(stderr.starts_with("tcpstate: cannot write to stdout: No space left"), "{stderr}");
}

#[test]
fn explain_has_bold_headings_on_a_terminal_unless_disabled() {
    for (no_colour, bold) in [("", true), ("1", false)] {
        // script(1) runs the command in a new terminal.
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command"])
            .arg(format!(
                "stty rows 24 cols 72; {} explain CLOSING",
                env!("CARGO_BIN_EXE_tcpstate")
            ))
            .arg("/dev/null")
            .env("TERM", "xterm")
            .env("NO_COLOR", no_colour)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: script: {error}");
                return;
            }
        };
        let reader = BufReader::new(child.stdout.take().expect("it is piped"));
        let lines: Vec<String> = reader.lines().map(|line| line.expect("it is text")).collect();
        assert!(child.wait().expect("it ends").success());
        let text = lines.join("\n");
        assert_eq!(text.contains("\x1b[1mHow long this state lasts\x1b[0m"), bold, "{text}");
        let widest = lines.iter().map(|line| line.trim_end_matches('\r').len()).max();
        assert!(widest.is_some_and(|widest| (60..=72).contains(&widest)), "{widest:?}: {text}");
    }
}

#[test]
fn explain_knows_every_sysctl_that_doctor_reads() {
    for name in tcpstate::procfs::sysctl::KEYS {
        let Finished { status, stdout, stderr } = run(&mut explain(&[name]));
        assert_eq!(status, Some(0), "{name}: {stderr}");
        assert!(stdout.starts_with(&format!("{name}\n")), "{name}: {stdout}");
    }
}
