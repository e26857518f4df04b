//! `xtask/prose.toml`: limits, words and exceptions.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The file with the rules, from the root of the tree.
pub(in crate::check) const RULES: &str = "xtask/prose.toml";

/// What a line is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// A Markdown document.
    Docs,
    /// A comment in Rust or in a settings file.
    Comments,
    /// Everything else in these files. Strings that the program prints are among it.
    Code,
}

/// The rules that a text can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    Width,
    Word,
    Phrase,
    Sentence,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// Files and folders that are not read.
    pub(super) skip: Vec<String>,
    width: Width,
    sentences: Sentences,
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
    /// Where the phrase is looked for.
    parts: Vec<Part>,
}

/// A place that may break a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exception {
    rule: Rule,
    path: String,
    /// A part of each line that is excepted.
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
            // rustfmt limits code.
            Part::Code => None,
        }
    }

    /// Says which replacement a name has, if it has one.
    pub(super) fn name(&self, name: &str) -> Option<String> {
        let rule = self.names.iter().find(|rule| rule.old.iter().any(|old| old == name))?;
        Some(format!("the name `{name}`: use {}", rule.new))
    }

    /// Says which replacement the name of a file has, if it has one.
    pub(super) fn file_named(&self, path: &str) -> Option<String> {
        self.name(path.rsplit('/').next()?)
    }

    /// The phrases in a line that have a replacement.
    pub(super) fn phrases_in(&self, part: Part, line: &str) -> Vec<String> {
        let line = if part == Part::Code { line.to_lowercase() } else { text_of(line) };
        let found = self
            .phrases
            .iter()
            .filter(|phrase| phrase.parts.contains(&part) && has_words(&line, &phrase.old));
        found.map(|phrase| format!("\"{}\": use {}", phrase.old, phrase.new)).collect()
    }

    pub(super) fn has_short_sentences(&self, path: &str) -> bool {
        self.sentences.files.iter().any(|file| file == path)
    }

    /// Says how many words a sentence has, if it has too many.
    pub(super) fn sentence(&self, sentence: &str) -> Option<String> {
        let is_word = |word: &&str| word.contains(char::is_alphanumeric);
        let words = sentence.split_whitespace().filter(is_word).count();
        let most = self.sentences.max_words;
        (words > most).then(|| format!("a sentence of {words} words, more than {most}: {sentence}"))
    }

    pub(super) fn permits(&self, rule: Rule, path: &str, line: &str) -> bool {
        self.exceptions.iter().any(|exception| exception.covers(rule, path, line))
    }

    /// A line for each exception that nothing needs.
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

/// The line in small letters, without the code between backticks.
fn text_of(line: &str) -> String {
    line.to_lowercase().split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// Whether the line has the phrase, and not as a part of longer words.
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
