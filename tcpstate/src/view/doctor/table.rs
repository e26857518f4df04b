//! Text output of `tcpstate doctor`: the most severe finding first. For each finding the output
//! shows the measured numbers, the source of the numbers, the advice and a command.

use std::io::{self, Write};

use textwrap::{Options, WordSplitter};

use super::{DoctorView, count, in_words};
use crate::{
    doctor::{Finding, Level},
    text::escaped,
};

/// The number of columns before the text of a finding.
const INDENT: usize = 13;

/// The text format.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The maximum number of columns in a line. A command is never wrapped, even if the command is
    /// longer.
    pub width: usize,
    /// Whether findings of level `ok` are shown too.
    pub all: bool,
}

impl DoctorView for Table {
    fn show(&self, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
        let mut shown: Vec<&Finding> =
            findings.iter().filter(|finding| self.all || finding.level > Level::Ok).collect();
        shown.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        for finding in shown {
            self.show_finding(finding, out)?;
        }
        let words = [Level::Crit, Level::Warn, Level::Info, Level::Unknown, Level::Ok]
            .map(|level| format!("{} {}", count(findings, level), level.label()));
        writeln!(out, "{}", words.join(", "))
    }
}

impl Table {
    fn show_finding(&self, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
        let level = finding.level.label().to_uppercase();
        let heading = format!("{level:<7}  {:<3} ", finding.id);
        self.paragraph(&heading, &escaped(&finding.summary), out)?;
        if finding.level == Level::Ok {
            return Ok(());
        }
        let measured = in_words(&finding.numbers);
        for (name, text) in [
            ("measured", measured),
            ("source", escaped(&finding.source)),
            ("do", escaped(&finding.advice)),
        ] {
            if !text.is_empty() {
                self.paragraph(&label(name), &text, out)?;
            }
        }
        if let Some(command) = &finding.command {
            writeln!(out, "{}$ {}", " ".repeat(INDENT), escaped(command))?;
        }
        writeln!(out)
    }

    fn paragraph(&self, heading: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let rest = " ".repeat(INDENT);
        let options = Options::new(self.width.max(40))
            .break_words(false)
            .word_splitter(WordSplitter::NoHyphenation)
            .initial_indent(heading)
            .subsequent_indent(&rest);
        writeln!(out, "{}", textwrap::fill(text, options))
    }
}

fn label(word: &str) -> String {
    format!("{:>width$} ", word, width = INDENT - 1)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::shown, *};

    #[test]
    fn the_most_severe_finding_comes_first_with_all_parts() {
        let text = shown(&Table { width: 60, all: false });
        assert_eq!(
            text,
            "\
WARN     C1  ev\\u{1b}[2Jil holds 165, \"at all\"
    measured close_wait 165, comm ev\\u{1b}[2Jil
      source /proc/net/netstat
          do Fix the program.
             $ ss -tanp state close-wait

UNKNOWN  F2  the limit is not visible
      source /proc/net/netstat
          do Run doctor on the host.

0 crit, 1 warn, 0 info, 1 unknown, 1 ok
"
        );
    }

    #[test]
    fn ok_findings_are_shown_on_request() {
        let text = shown(&Table { width: 60, all: true });
        assert!(text.contains("OK       S4  no full SYN queue dropped a SYN\n0 crit"), "{text}");
    }
}
