//! Reads `xtask/prose.toml`, which contains limits, words and exceptions.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The path of the file with the rules, relative to the root of the tree.
pub(in crate::check) const RULES: &str = "xtask/prose.toml";

/// The kind of text that a line contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// A line of a Markdown document.
    Docs,
    /// A comment in Rust or in a settings file.
    Comments,
    /// A line of code in a Rust or settings file, including strings that the program prints.
    Code,
}

/// The rules that a text can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    Width,
    Length,
    Word,
    Phrase,
    Sentence,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// The files and folders that are not checked.
    pub(super) skip: Vec<String>,
    width: Width,
    sentences: Sentences,
    /// The largest number of lines of a file.
    #[serde(default)]
    max_lines: BTreeMap<String, usize>,
    #[serde(default)]
    names: Vec<Name>,
    #[serde(default)]
    phrases: Vec<Phrase>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// The largest width in columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Width {
    docs: usize,
    comments: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sentences {
    files: Vec<String>,
    max_words: usize,
}

/// Identifiers or file names that have a replacement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    old: Vec<String>,
    new: String,
}

/// A phrase that has a replacement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrase {
    old: String,
    new: String,
    /// The kinds of text that must not contain the phrase.
    parts: Vec<Part>,
}

/// An exception: a place that may break a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exception {
    rule: Rule,
    path: String,
    /// The exception covers the lines that contain this text.
    line: String,
    reason: String,
}

impl Exception {
    pub(super) fn covers(&self, rule: Rule, path: &str, line: &str) -> bool {
        self.rule == rule && self.path == path && line.contains(&self.line)
    }
}

impl Rules {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(RULES)).with_context(|| format!("read {RULES}"))?;
        let rules: Self = toml::from_str(&text).with_context(|| format!("parse {RULES}"))?;
        if let Some(exception) = rules.exceptions.iter().find(|it| it.reason.trim().is_empty()) {
            bail!("{RULES}: an exception for {} has no reason", exception.path);
        }
        Ok(rules)
    }

    pub(super) fn width(&self, part: Part) -> Option<usize> {
        match part {
            Part::Docs => Some(self.width.docs),
            Part::Comments => Some(self.width.comments),
            // rustfmt limits the width of code.
            Part::Code => None,
        }
    }

    /// Returns a message if the name has a replacement.
    pub(super) fn name(&self, name: &str) -> Option<String> {
        let rule = self.names.iter().find(|rule| rule.old.iter().any(|old| old == name))?;
        Some(format!("the name `{name}`: use {}", rule.new))
    }

    /// Returns a message if the file name has a replacement.
    pub(super) fn file_named(&self, path: &str) -> Option<String> {
        self.name(path.rsplit('/').next()?)
    }

    /// For each phrase of the rules, returns a message if the line contains the phrase.
    pub(super) fn phrases_in(&self, part: Part, line: &str) -> Vec<String> {
        let line = if part == Part::Code { line.to_lowercase() } else { text_of(line) };
        let found = self
            .phrases
            .iter()
            .filter(|phrase| phrase.parts.contains(&part) && has_words(&line, &phrase.old));
        found.map(|phrase| format!("\"{}\": use {}", phrase.old, phrase.new)).collect()
    }

    /// Returns a message with the number of lines if a file has too many lines.
    pub(super) fn length(&self, path: &str, lines: usize) -> Option<String> {
        let most = *self.max_lines.get(path)?;
        (lines > most).then(|| format!("{lines} lines, more than {most}"))
    }

    pub(super) fn has_short_sentences(&self, path: &str) -> bool {
        self.sentences.files.iter().any(|file| file == path)
    }

    /// Returns a message if the sentence has too many words.
    pub(super) fn sentence(&self, sentence: &str) -> Option<String> {
        let is_word = |word: &&str| word.contains(char::is_alphanumeric);
        let words = sentence.split_whitespace().filter(is_word).count();
        let most = self.sentences.max_words;
        (words > most).then(|| format!("a sentence of {words} words, more than {most}: {sentence}"))
    }

    pub(super) fn permits(&self, rule: Rule, path: &str, line: &str) -> bool {
        self.exceptions.iter().any(|exception| exception.covers(rule, path, line))
    }

    /// Returns a message for each exception that is not used.
    pub(super) fn exceptions_without_use(
        &self,
        is_used: impl Fn(&Exception) -> bool,
    ) -> Vec<String> {
        let unused = self.exceptions.iter().filter(|exception| !is_used(exception));
        let line = |it: &Exception| {
            format!("{RULES}: the exception for `{}` in {} has no use", it.line, it.path)
        };
        unused.map(line).collect()
    }
}

/// Returns the line in lower case, without the code in backticks.
fn text_of(line: &str) -> String {
    line.to_lowercase().split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// Whether the line contains the phrase as whole words.
fn has_words(line: &str, phrase: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + phrase.len()..]);
        let begins = !phrase.starts_with(is_word) || !before.ends_with(is_word);
        let ends = !phrase.ends_with(is_word) || !after.starts_with(is_word);
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_whole_words() {
        assert!(has_words("and anew, too", "anew"));
        assert!(!has_words("a new one, renewed", "anew"));
        assert!(has_words("eprintln!(\"remedy: {help}\")", "remedy:"));
        assert!(!has_words("no-remedy: x", "remedy:"));
    }
}
