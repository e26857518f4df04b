//! Checks the texts of the project: the width of lines, words that have a replacement, and the
//! length of sentences.
//!
//! `xtask/prose.toml` contains the limits, the words and the exceptions. Each exception needs a
//! reason. An unused exception is an error, so the list contains no outdated exceptions.

mod files;
mod markdown;
mod rules;
mod rust;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

#[cfg(test)]
pub(super) use self::rules::RULES;
use self::{
    files::Kind,
    rules::{Part, Rule, Rules},
};

/// One place where a text breaks a rule.
#[derive(Debug)]
struct Finding {
    rule: Rule,
    path: String,
    /// The number of the line. The first line has number 1.
    line: usize,
    /// The text of the line. The checker compares exceptions with the text of the line.
    text: String,
    message: String,
}

/// Returns a message for each place in the tree that breaks a rule and has no exception.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let rules = Rules::read(root)?;
    let mut findings = Vec::new();
    for file in files::with_texts(root, &rules.skip)? {
        let text = fs::read_to_string(root.join(&file.path))
            .with_context(|| format!("read {}", file.path))?;
        of_file(&file, &text, &rules, &mut findings)?;
    }
    let mut lines = rules.exceptions_without_use(|exception| {
        findings.iter().any(|finding| exception.covers(finding.rule, &finding.path, &finding.text))
    });
    findings.retain(|finding| !rules.permits(finding.rule, &finding.path, &finding.text));
    lines.extend(
        findings
            .iter()
            .map(|finding| format!("{}:{}: {}", finding.path, finding.line, finding.message)),
    );
    Ok(lines)
}

fn of_file(
    file: &files::File,
    text: &str,
    rules: &Rules,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let mut add = |rule, line: usize, message| {
        let path = file.path.clone();
        let text = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        findings.push(Finding { rule, path, line, text, message });
    };
    if let Some(word) = rules.file_named(&file.path) {
        add(Rule::Word, 1, word);
    }
    if let Some(message) = rules.length(&file.path, text.lines().count()) {
        add(Rule::Length, 1, message);
    }
    for (index, line) in text.lines().enumerate() {
        let part = part_of(file.kind, line);
        let columns = line.chars().count();
        if let Some(most) = rules.width(part)
            && columns > most
        {
            add(Rule::Width, index + 1, format!("{columns} columns, more than {most}"));
        }
        for message in rules.phrases_in(part, line) {
            add(Rule::Phrase, index + 1, message);
        }
    }
    match file.kind {
        Kind::Rust => {
            for (line, name) in rust::names(text).with_context(|| format!("parse {}", file.path))? {
                if let Some(message) = rules.name(&name) {
                    add(Rule::Word, line, message);
                }
            }
        }
        Kind::Document if rules.has_short_sentences(&file.path) => {
            for sentence in markdown::sentences(text) {
                if let Some(message) = rules.sentence(&sentence.text) {
                    add(Rule::Sentence, sentence.line, message);
                }
            }
        }
        Kind::Document | Kind::Settings => {}
    }
    Ok(())
}

/// Returns the kind of text that a line contains.
fn part_of(kind: Kind, line: &str) -> Part {
    match kind {
        Kind::Document => Part::Docs,
        Kind::Rust if line.trim_start().starts_with("//") => Part::Comments,
        Kind::Settings if line.trim_start().starts_with('#') => Part::Comments,
        Kind::Rust | Kind::Settings => Part::Code,
    }
}
