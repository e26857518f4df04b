//! Parses the output of a guest's two serial ports while the guest runs.
//!
//! The guest's kernel uses the first serial port. The guest's first process and the test programs
//! use the second serial port. Lines of the first process begin with `tcpstate-vm: `. The source of
//! the first process is `tests/src/bin/vm_init.rs`.

use super::verdict::{Signs, is_fatal};
use crate::test::libtest::{Outcome, Parser};

const MARK: &str = "tcpstate-vm: ";

/// A serial port of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Kernel,
    Programs,
}

/// Splits a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Adds a piece of the stream to the incomplete last line. Returns the lines that the piece
    /// completes.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<String> {
        self.partial.extend_from_slice(piece);
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        let text = String::from_utf8_lossy(&whole);
        // Remove the carriage returns that the guest's terminal adds.
        text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
    }

    /// Returns the last line of the stream if no newline follows this line.
    pub(crate) fn finish(self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.partial).trim_end_matches('\r').to_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// The parsed output of a guest.
#[derive(Debug, Default)]
pub(crate) struct Console {
    pub(crate) signs: Signs,
    outcome: Outcome,
    /// The name of the running test program, and the parser for the output of this program.
    running: Option<(String, Parser)>,
}

impl Console {
    /// Parses a line of a serial port. Returns the lines to show.
    pub(crate) fn line(&mut self, port: Port, line: &str) -> Vec<String> {
        match port {
            Port::Kernel => {
                if self.signs.fatal.is_none() && is_fatal(line) {
                    // Remove the kernel's timestamp from the line.
                    let text = line.split_once("] ").map_or(line, |(_, text)| text);
                    self.signs.fatal = Some(text.to_owned());
                    return vec![line.to_owned()];
                }
                Vec::new()
            }
            Port::Programs => match line.strip_prefix(MARK) {
                Some(message) => self.message(message),
                None => self.printed(&format!("{line}\n")),
            },
        }
    }

    /// Parses the incomplete last line of the second serial port.
    pub(crate) fn partial(&mut self, text: &str) {
        self.printed(text);
    }

    fn printed(&mut self, text: &str) -> Vec<String> {
        self.running.as_mut().map_or_else(Vec::new, |(_, parser)| parser.feed(text.as_bytes()))
    }

    fn message(&mut self, message: &str) -> Vec<String> {
        let (word, rest) = message.split_once(' ').unwrap_or((message, ""));
        match word {
            "ready" => self.signs.is_ready = true,
            "run" => self.running = Some((rest.to_owned(), Parser::default())),
            "end" => {
                let status = rest.split_once(": ").map_or(rest, |(_, status)| status);
                self.end((status != "exit status: 0").then_some(status));
            }
            "verdict" => self.signs.said = Some(rest == "pass"),
            _ => return vec![message.to_owned()],
        }
        Vec::new()
    }

    fn end(&mut self, problem: Option<&str>) {
        if let Some((program, parser)) = self.running.take() {
            let mut outcome = parser.finish(problem);
            for name in outcome.failed.iter_mut().chain(&mut outcome.skipped) {
                *name = format!("{program}: {name}");
            }
            self.outcome.merge(outcome);
        }
    }

    /// Returns the results of the tests. `problem` is the cause if the guest crashed or was killed.
    pub(crate) fn finish(mut self, problem: Option<&str>) -> Outcome {
        let was_running = self.running.is_some();
        self.end(problem);
        if let Some(problem) = problem
            && !was_running
        {
            self.outcome.failed.push(format!("the guest ({problem})"));
        }
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.line(Port::Programs, line);
        }
        console
    }

    const PASSED: &[&str] = &[
        "tcpstate-vm: ready 6.1.0-56-cloud-amd64 2.31",
        "tcpstate-vm: run gauges",
        "running 2 tests",
        "test a ... ok",
        "test b ... ok",
        "",
        "successes:",
        "",
        "---- b stdout ----",
        "skipped: no fentry here",
        "",
        "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        "",
        "tcpstate-vm: end gauges: exit status: 0",
        "tcpstate-vm: verdict pass",
    ];

    #[test]
    fn guest_that_succeeds_is_counted() {
        let console = console(PASSED);
        assert!(console.signs.is_ready);
        assert_eq!(console.signs.said, Some(true));
        let outcome = console.finish(None);
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.skipped, ["gauges: b: no fentry here"]);
        assert!(outcome.failed.is_empty());
    }

    #[test]
    fn killed_program_fails_the_running_test() {
        let outcome = console(&[
            "tcpstate-vm: run load",
            "running 2 tests",
            "test a ... ok",
            "test b ... ",
            "tcpstate-vm: end load: signal: 11 (SIGSEGV)",
        ])
        .finish(None);
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.failed, ["load: b (signal: 11 (SIGSEGV))"]);
    }

    #[test]
    fn crashed_guest_fails_the_running_test() {
        let mut dying =
            console(&[&PASSED[..5], &["tcpstate-vm: run load", "running 1 test"]].concat());
        dying.partial("test hang ... ");
        assert_eq!(
            dying.finish(Some("timeout")).failed.last().expect("one"),
            "load: hang (timeout)"
        );
        let before = console(&[]).finish(Some("no verdict"));
        assert_eq!(before.failed, ["the guest (no verdict)"]);
    }

    #[test]
    fn only_kernel_messages_report_a_broken_kernel() {
        let mut console = Console::default();
        console.line(Port::Programs, "Kernel panic - not syncing");
        assert_eq!(console.signs.fatal, None);
        console.line(Port::Kernel, "[    4.741438] Kernel panic - not syncing");
        console.line(Port::Kernel, "[    4.741459] Oops: 0");
        assert_eq!(console.signs.fatal.as_deref(), Some("Kernel panic - not syncing"));
    }

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        assert!(lines.feed(b"te").is_empty());
        assert_eq!(lines.feed(b"st a\r\ntest b\r\nte"), ["test a", "test b"]);
        assert_eq!(lines.finish().as_deref(), Some("te"));
    }
}
