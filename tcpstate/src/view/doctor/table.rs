//! For people: the worst first, each with how it is known, what to do, and the command that does it.

use std::io::{self, Write};

use textwrap::Options;

use super::{DoctorView, count, in_words};
use crate::{
    doctor::{Finding, Level},
    text::escaped,
};

/// Where the text of a finding begins.
const INDENT: usize = 13;

/// Writes text of a width.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// How wide lines may be; commands are never broken.
    pub width: usize,
    /// Whether rules that found nothing are shown too.
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
        let mut how = in_words(&finding.numbers);
        if !finding.source.is_empty() {
            let parted = if how.is_empty() { "" } else { "  " };
            how = format!("{how}{parted}[{}]", escaped(&finding.source));
        }
        self.paragraph(&label("seen"), &how, out)?;
        if !finding.advice.is_empty() {
            self.paragraph(&label("do"), &escaped(&finding.advice), out)?;
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
    fn the_worst_comes_first_with_all_that_is_known() {
        let text = shown(&Table { width: 60, all: false });
        assert_eq!(
            text,
            "\
WARN     C1  ev\\u{1b}[2Jil has not closed 165, \"at all\"
        seen close_wait 165, comm ev\\u{1b}[2Jil
             [/proc/net/netstat]
          do the program has to close them
             $ ss -tanp state close-wait

UNKNOWN  F2  the limit can't be seen
        seen [/proc/net/netstat]
          do look from the host

0 crit, 1 warn, 0 info, 1 unknown, 1 ok
"
        );
    }

    #[test]
    fn what_is_in_order_is_shown_if_asked_for() {
        let text = shown(&Table { width: 60, all: true });
        assert!(text.contains("OK       S4  no SYN was dropped\n0 crit"), "{text}");
    }
}
