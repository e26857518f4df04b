//! The output of `tcpstate check`: text, JSON and CSV.

use std::io::{self, Write};

use serde_json::json;
use textwrap::{Options, WordSplitter, fill};

use super::json_lines::{VERSION, write_line};
use crate::{
    check::Feature,
    text::{cell, escaped},
};

/// The maximum width of a line.
const WIDTH: usize = 80;
/// The widths of the column of IDs and of the column of statuses.
const COLUMNS: [usize; 2] = [20, 9];

/// An output format of `tcpstate check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text, at most 80 columns wide.
    Table,
    /// One JSON object per line.
    Json,
    /// A header, then one row per feature.
    Csv,
}

/// Writes all features.
pub fn show_features(form: Form, features: &[Feature], out: &mut dyn Write) -> io::Result<()> {
    match form {
        Form::Table => table(features, out),
        Form::Json => json(features, out),
        Form::Csv => csv(features, out),
    }
}

fn table(features: &[Feature], out: &mut dyn Write) -> io::Result<()> {
    let [id, status] = COLUMNS;
    writeln!(out, "{:id$} {:status$} DETAIL", "FEATURE", "STATUS")?;
    let indent = " ".repeat(id + status + 2);
    // Long words such as paths are not broken, even if the line becomes too long.
    let wrap = Options::new(WIDTH)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .subsequent_indent(&indent);
    for feature in features {
        let head = format!("{:id$} {:status$} ", feature.id, feature.status.name());
        writeln!(out, "{}", fill(&escaped(&feature.detail), wrap.clone().initial_indent(&head)))?;
        if let Some(help) = &feature.help {
            let help = format!("help: {}", escaped(help));
            writeln!(out, "{}", fill(&help, wrap.clone().initial_indent(&indent)))?;
        }
    }
    Ok(())
}

fn json(features: &[Feature], out: &mut dyn Write) -> io::Result<()> {
    for feature in features {
        let line = json!({
            "type": "check",
            "version": VERSION,
            "id": feature.id,
            "status": feature.status.name(),
            "detail": feature.detail,
            "remedy": feature.help,
        });
        write_line(&line, out)?;
    }
    Ok(())
}

fn csv(features: &[Feature], out: &mut dyn Write) -> io::Result<()> {
    let mut sheet = csv::Writer::from_writer(out);
    sheet.write_record(["id", "status", "detail", "remedy"])?;
    for feature in features {
        let detail = cell(&feature.detail);
        let help = cell(feature.help.as_deref().unwrap_or_default());
        sheet.write_record([feature.id, feature.status.name(), &detail, &help])?;
    }
    sheet.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn shown(form: Form) -> String {
        let features = [
            Feature { id: "btf", status: Status::Ok, detail: "read".into(), help: None },
            Feature {
                id: "time_wait_fentry",
                status: Status::Missing,
                detail:
                    "load BPF program inet_twsk_kill: the BPF_PROG_LOAD syscall returned \"no\""
                        .into(),
                help: Some("boot with lockdown=integrity, or without".into()),
            },
        ];
        let mut out = Vec::new();
        show_features(form, &features, &mut out).expect("writing to memory succeeds");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn the_table_has_80_columns_with_help_under_details() {
        let expected = "\
FEATURE              STATUS    DETAIL
btf                  ok        read
time_wait_fentry     missing   load BPF program inet_twsk_kill: the
                               BPF_PROG_LOAD syscall returned \"no\"
                               help: boot with lockdown=integrity, or without
";
        assert_eq!(shown(Form::Table), expected);
        assert!(expected.lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn each_feature_is_one_line_of_json() {
        let text = shown(Form::Json);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object a line"))
            .collect();
        assert_eq!(
            lines[0],
            json!({ "type": "check", "version": 1, "id": "btf", "status": "ok", "detail": "read", "remedy": null })
        );
        assert_eq!(lines[1]["remedy"], "boot with lockdown=integrity, or without");
    }

    #[test]
    fn csv_doubles_quotes() {
        let text = shown(Form::Csv);
        assert!(text.starts_with("id,status,detail,remedy\nbtf,ok,read,\n"), "{text}");
        assert!(text.contains(r#"returned ""no""","#), "{text}");
    }
}
