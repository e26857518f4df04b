//! The rules: what each one means and how it knows, and the function that decides.
//!
//! [`RULES`] lists the rules in the order in which they are shown. `explain` prints the list, and
//! docs/DOCTOR.md has a section for each rule.

mod advice;
mod close_wait;
mod conntrack;
mod orphans;
mod ports;
mod resets;
mod syn;
#[cfg(test)]
mod testing;
mod time_wait;

use serde_json::{Map, Value};

use super::{
    Thresholds,
    facts::{Facts, Known},
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Looked at, and nothing to say.
    Ok,
    /// It can't be seen; there is a help.
    Unknown,
    /// Good to know; it harms nobody.
    Info,
    /// It will do harm, or does some.
    Warn,
    /// It does harm now.
    Crit,
}

impl Level {
    /// All of them, as the verdict counts them.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Info, Self::Warn, Self::Crit, Self::Unknown];

    /// As machines read it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Crit => "crit",
        }
    }
}

/// What a rule has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule's id.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is found, on one line.
    pub summary: String,
    /// The numbers that it was found by.
    pub numbers: Map<String, Value>,
    /// What to do about it; empty if nothing.
    pub advice: String,
    /// The command that mends it, if one does.
    pub command: Option<String>,
    /// Where the numbers come from.
    pub source: String,
}

impl Finding {
    fn new(level: Level, summary: impl Into<String>) -> Self {
        Self {
            // `diagnose` knows whose it is.
            id: "",
            level,
            summary: summary.into(),
            numbers: Map::new(),
            advice: String::new(),
            command: None,
            source: String::new(),
        }
    }

    fn number(mut self, name: &str, number: impl Into<Value>) -> Self {
        self.numbers.insert(name.to_owned(), number.into());
        self
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    fn command(mut self, command: impl Into<Option<String>>) -> Self {
        self.command = command.into();
        self
    }

    fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }
}

/// A rule: everything about it that can be said without looking.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, short: `P1`.
    pub id: &'static str,
    /// The family, which is also the section of its thresholds.
    pub family: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What it means when it speaks up.
    pub means: &'static str,
    /// What it looks at, and from where on it speaks up.
    pub knows: &'static str,
    /// The names of its thresholds, `section.key`.
    pub thresholds: &'static [&'static str],
    /// Where the kernel does, or documents, what the rule goes by.
    pub reference: &'static str,
    /// What to do.
    pub help: &'static str,
    check: Check,
}

/// Decides. It reads nothing but its arguments.
type Check = fn(&Facts, &Thresholds) -> Known<Vec<Finding>>;

/// All rules, in the order in which they are shown.
pub static RULES: [Rule; 33] = [
    ports::P1,
    ports::P2,
    ports::P3,
    time_wait::T1,
    time_wait::T2,
    time_wait::T3,
    time_wait::T5,
    time_wait::T6,
    time_wait::T7,
    time_wait::T8,
    time_wait::T9,
    time_wait::T10,
    close_wait::C1,
    close_wait::C2,
    syn::S1,
    syn::S2,
    syn::S3,
    syn::S4,
    syn::S5,
    syn::S6,
    orphans::F1,
    orphans::F2,
    orphans::F3,
    conntrack::K1,
    resets::R1,
    advice::T4,
    advice::A1,
    advice::A2,
    advice::A3,
    advice::A4,
    advice::A5,
    advice::A6,
    advice::A7,
];

impl Rule {
    /// The rule of this id, however it is capitalised.
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }

    /// What it finds: one finding at least, `ok` if there is nothing to say, `unknown` if it can't be seen.
    #[must_use]
    pub fn check(&self, facts: &Facts, thresholds: &Thresholds) -> Vec<Finding> {
        let mut findings = (self.check)(facts, thresholds).unwrap_or_else(|missing| {
            let finding =
                Finding::new(Level::Unknown, format!("{}: {}", self.title, missing.cause));
            vec![finding.advice(missing.help).source(missing.source)]
        });
        for finding in &mut findings {
            finding.id = self.id;
            // Its own say is what the recording lacks.
            if let Some(recording) =
                facts.recording.as_ref().filter(|&name| *name != finding.source)
            {
                finding.source = format!("{recording}, in the place of {}", finding.source);
            }
        }
        findings
    }
}

/// What all rules find.
#[must_use]
pub fn diagnose(facts: &Facts, thresholds: &Thresholds) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule.check(facts, thresholds)).collect()
}

/// So many findings of one rule are told one by one.
const MAX_FINDINGS: usize = 10;

/// The finding of a rule that looked and found nothing, unless there are findings.
fn or_ok(findings: Vec<Finding>, ok: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![ok()] } else { findings }
}

fn ok(summary: impl Into<String>) -> Finding {
    Finding::new(Level::Ok, summary)
}

/// A part of a whole in percent, for people.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// A number that was computed, to three digits behind the point: more is noise.
fn rounded(number: f64) -> Value {
    ((number * 1000.0).round() / 1000.0).into()
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The end of a word, for a number of things.
fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_says_everything_about_itself() {
        let defaults = super::super::thresholds::DEFAULTS;
        let mut ids = HashSet::new();
        for rule in &RULES {
            assert!(ids.insert(rule.id), "{} twice", rule.id);
            for (what, text) in [
                ("title", rule.title),
                ("means", rule.means),
                ("knows", rule.knows),
                ("reference", rule.reference),
                ("remedy", rule.help),
            ] {
                assert!(text.len() > 10, "{}: {what}: {text:?}", rule.id);
                assert!(!text.contains("  ") && !text.contains('\n'), "{}: {what}", rule.id);
            }
            for name in rule.thresholds {
                let (section, key) = name.split_once('.').expect("section.key");
                let from = defaults.find(&format!("[{section}]")).expect("the section exists");
                let end = defaults[from + 1..].find("\n[").map_or(defaults.len(), |at| from + at);
                assert!(defaults[from..end].contains(&format!("\n{key} = ")), "{name}");
            }
        }
    }

    #[test]
    fn every_threshold_belongs_to_a_rule() {
        let mut section = "";
        for row in super::super::thresholds::DEFAULTS.lines() {
            if let Some(name) = row.strip_prefix('[') {
                section = name.trim_end_matches(']');
            } else if let Some((key, _)) = row.split_once(" = ") {
                let name = format!("{section}.{key}");
                let belongs = RULES.iter().any(|rule| rule.thresholds.contains(&name.as_str()));
                assert!(belongs, "{name} is no rule's");
            }
        }
    }

    #[test]
    fn rules_are_found_by_their_ids() {
        assert_eq!(Rule::by_id("t10").map(|rule| rule.id), Some("T10"));
        assert!(Rule::by_id("T99").is_none());
    }

    #[test]
    fn words_for_a_shell_are_one_word() {
        assert_eq!(quoted("/etc/sysctl.conf"), "/etc/sysctl.conf");
        assert_eq!(quoted("/etc/a b'; rm"), r"'/etc/a b'\''; rm'");
    }
}
