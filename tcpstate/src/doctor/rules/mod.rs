//! The rules. A rule has texts, and a function that decides whether the data show a problem.
//!
//! [`RULES`] is the list of all rules in the order of the output. `explain` prints the texts, and
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

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The rule found no problem.
    Ok,
    /// The rule could not read its data. The finding has a help text.
    Unknown,
    /// The finding is information and not a problem.
    Info,
    /// A problem that will do harm later, or that does little harm now.
    Warn,
    /// A problem that does harm now.
    Crit,
}

impl Level {
    /// All levels, in the order of the verdict.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Info, Self::Warn, Self::Crit, Self::Unknown];

    /// Returns the name of the level in JSON and CSV.
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

/// A result of a rule: a problem, information, `ok` or `unknown`.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The id of the rule.
    pub id: &'static str,
    /// The severity.
    pub level: Level,
    /// The finding in one line.
    pub summary: String,
    /// The measured numbers.
    pub numbers: Map<String, Value>,
    /// The advice, or an empty text if the user has nothing to do.
    pub advice: String,
    /// A command that fixes the problem or shows more data, if there is such a command.
    pub command: Option<String>,
    /// The kernel file or interface from which the numbers were read.
    pub source: String,
}

impl Finding {
    fn new(level: Level, summary: impl Into<String>) -> Self {
        Self {
            // `Rule::check` sets the id.
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

/// A rule: texts, and the function that checks the data.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The id, for example `P1`.
    pub id: &'static str,
    /// The family of the rule. The thresholds of the family are in the section of this name in the
    /// TOML file.
    pub family: &'static str,
    /// The subject of the rule: a short noun phrase.
    pub title: &'static str,
    /// What a finding of this rule means.
    pub means: &'static str,
    /// Which data the rule reads, and when the rule reports a finding.
    pub knows: &'static str,
    /// The names of the thresholds of the rule, as `section.key`.
    pub thresholds: &'static [&'static str],
    /// The kernel source file or document that proves what the rule says.
    pub reference: &'static str,
    /// The advice.
    pub help: &'static str,
    check: Check,
}

/// The function of a rule, which returns the findings. The function reads only its arguments.
type Check = fn(&Facts, &Thresholds) -> Known<Vec<Finding>>;

/// All rules, in the order of the output.
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
    /// Returns the rule that has this id. The id may be in upper or lower case.
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }

    /// Returns the findings of the rule: at least one finding.
    ///
    /// If the rule found no problem, the only finding has the level `ok`. If the rule could not
    /// read its data, the only finding has the level `unknown`.
    #[must_use]
    pub fn check(&self, facts: &Facts, thresholds: &Thresholds) -> Vec<Finding> {
        let mut findings = (self.check)(facts, thresholds).unwrap_or_else(|missing| {
            let finding = Finding::new(
                Level::Unknown,
                format!("cannot check {}: {}", self.title, missing.cause),
            );
            vec![finding.advice(missing.help).source(missing.source)]
        });
        for finding in &mut findings {
            finding.id = self.id;
            // If the source is only the name of the recording, the finding reports that the
            // recording does not contain the data.
            if let Some(recording) =
                facts.recording.as_ref().filter(|&name| *name != finding.source)
            {
                finding.source = format!("{recording}, instead of {}", finding.source);
            }
        }
        findings
    }
}

/// Returns the findings of all rules.
#[must_use]
pub fn diagnose(facts: &Facts, thresholds: &Thresholds) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule.check(facts, thresholds)).collect()
}

/// The maximum number of findings that one rule returns.
const MAX_FINDINGS: usize = 10;

/// Returns the findings, or the finding `ok` if there are no findings.
fn or_ok(findings: Vec<Finding>, ok: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![ok()] } else { findings }
}

fn ok(summary: impl Into<String>) -> Finding {
    Finding::new(Level::Ok, summary)
}

/// Returns `part` as a percentage of `whole`, for text output.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Returns the number, rounded to three decimal places. The measurement is not accurate enough for
/// more decimal places.
fn rounded(number: f64) -> Value {
    ((number * 1000.0).round() / 1000.0).into()
}

/// Returns the word, quoted for a shell if necessary.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Returns the plural ending "s", or an empty text if the number is 1.
fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_all_texts() {
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
                assert!(belongs, "no rule uses {name}");
            }
        }
    }

    #[test]
    fn rules_are_found_by_their_ids() {
        assert_eq!(Rule::by_id("t10").map(|rule| rule.id), Some("T10"));
        assert!(Rule::by_id("T99").is_none());
    }

    #[test]
    fn quoted_words_are_one_word_for_a_shell() {
        assert_eq!(quoted("/etc/sysctl.conf"), "/etc/sysctl.conf");
        assert_eq!(quoted("/etc/a b'; rm"), r"'/etc/a b'\''; rm'");
    }
}
