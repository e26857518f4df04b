//! CSV output of `tcpstate doctor`: a header, then one row per finding.

use std::io::{self, Write};

use csv::WriterBuilder;

use super::{DoctorView, in_words};
use crate::{doctor::Finding, text::cell};

/// The CSV format.
#[derive(Clone, Copy, Debug)]
pub struct Csv;

impl DoctorView for Csv {
    fn show(&self, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
        let mut csv = WriterBuilder::new().from_writer(out);
        csv.write_record(["id", "level", "summary", "numbers", "advice", "command", "source"])?;
        for finding in findings {
            csv.write_record([
                finding.id,
                finding.level.label(),
                &cell(&finding.summary),
                &in_words(&finding.numbers),
                &cell(&finding.advice),
                &cell(finding.command.as_deref().unwrap_or_default()),
                &cell(&finding.source),
            ])?;
        }
        csv.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::shown, *};

    #[test]
    fn findings_are_rows_and_quoted_if_necessary() {
        let text = shown(&Csv);
        assert_eq!(text.lines().count(), 4);
        let row = text.lines().nth(3).expect("there are three findings");
        assert_eq!(
            row,
            "C1,warn,\"ev\\u{1b}[2Jil holds 165, \"\"at all\"\"\",\
             \"close_wait 165, comm ev\\u{1b}[2Jil\",Fix the program.,\
             ss -tanp state close-wait,/proc/net/netstat"
        );
    }
}
