//! What states, transitions and the rules of `doctor` mean, in words: texts as data, and the way to them from what
//! somebody typed. A rule brings its own text.
//!
//! Nothing here asks the system anything, and nothing here lays text out: `view` does.

mod diagram;
mod nearest;
mod states;
#[cfg(test)]
mod tests;
mod transitions;

use std::borrow::Cow;

use serde_json::Value;
use tcpstate_common::{
    State, abi,
    transitions::{Seen, seen},
};

use crate::{
    doctor::{RULES, Rule, thresholds::DEFAULTS},
    error::Help,
};

/// The kernel whose source is named, and whose defaults are told.
pub const KERNEL: &str = "v6.12";

/// A state, explained.
#[derive(Clone, Copy, Debug)]
pub struct StateText {
    /// Which one.
    pub state: State,
    /// How others spell it.
    pub names: Names,
    /// What it means that a socket is in it.
    pub meaning: &'static str,
    /// Who moves a socket on to the next state.
    pub moved_on_by: &'static str,
    /// How long that takes.
    pub lasts: &'static str,
    /// Which settings change that.
    pub governed_by: &'static [Setting],
    /// Where the kernel does it: `file: function`.
    pub kernel: &'static [&'static str],
    /// Sections of RFC 9293.
    pub rfc: &'static str,
    /// What it means that many sockets are in it.
    pub many: &'static str,
    /// What to do then.
    pub what_to_do: &'static str,
}

/// How the tools that operators know spell a state; `None` where they never show it.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// In the first column of `ss`.
    pub ss: Option<&'static str>,
    /// In the last column of `netstat`.
    pub netstat: Option<&'static str>,
    /// In the column `st` of `/proc/net/tcp`: the number, hexadecimal.
    pub proc: Option<&'static str>,
    /// In RFC 9293.
    pub rfc: Option<&'static str>,
    /// The label `state` of node_exporter's `node_tcp_connection_states`.
    pub node_exporter: Option<&'static str>,
}

impl StateText {
    /// The metric that counts it, where one does.
    #[must_use]
    pub fn metric(&self) -> Option<String> {
        State::GAUGES
            .contains(&self.state)
            .then(|| format!("tcpstate_connections{{state=\"{}\"}}", self.state.label()))
    }

    /// The same of node_exporter, whose collector tcpstat is off by default.
    #[must_use]
    pub fn node_exporter_metric(&self) -> Option<String> {
        self.names
            .node_exporter
            .map(|label| format!("node_tcp_connection_states{{state=\"{label}\"}}"))
    }

    /// The transitions that lead into it from elsewhere.
    pub fn entered_by(&self) -> impl Iterator<Item = &'static TransitionText> {
        let state = self.state;
        transitions().filter(move |pair| pair.to == state && pair.from != state)
    }

    /// The transitions that begin in it; births, where the listener stays, and `X -> X` among them.
    pub fn goes_on_by(&self) -> impl Iterator<Item = &'static TransitionText> {
        let state = self.state;
        transitions().filter(move |pair| pair.from == state)
    }
}

/// A setting that changes how long sockets stay in a state, or how many can.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The sysctl's, or the socket option's.
    pub name: &'static str,
    /// In the kernel as it comes.
    pub default: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// A transition, explained.
#[derive(Clone, Copy, Debug)]
pub struct TransitionText {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// What happens.
    pub meaning: &'static str,
    /// What makes it happen.
    pub caused_by: &'static str,
    /// Where the kernel does it: `file: function`.
    pub kernel: &'static [&'static str],
    /// Sections of RFC 9293.
    pub rfc: &'static str,
}

impl TransitionText {
    /// Where it can be observed.
    #[must_use]
    pub fn seen(&self) -> Seen {
        seen(self.from, self.to).expect("each text is of a known transition, as a test shows")
    }

    /// What it does to the gauges, by the rule that counts it.
    #[must_use]
    pub fn gauges(&self) -> String {
        let Self { from, to, .. } = self;
        let (leaves, enters) = (*from != State::Close, *to != State::Close);
        if from == to {
            "none".to_owned()
        } else if abi::is_birth(from.number(), to.number()) {
            let stays = if leaves { format!("; {from} stays as it is") } else { String::new() };
            format!("{to} + 1{stays}")
        } else if enters {
            format!("{from} - 1, {to} + 1")
        } else {
            format!("{from} - 1")
        }
    }
}

/// What there is to say.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// All of it at a glance.
    Overview,
    /// About a state.
    State(&'static StateText),
    /// About a transition.
    Transition(&'static TransitionText),
    /// About a pair of states that is no transition.
    Never {
        /// The state before.
        from: State,
        /// The one that doesn't come after it.
        to: State,
        /// Why it doesn't.
        reason: &'static str,
    },
    /// About a rule of `doctor`.
    Rule(&'static Rule),
}

/// That can't be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing has that name.
    #[error("nothing to explain is called \"{}\"", word.escape_debug())]
    Unknown {
        /// What was asked for.
        word: String,
        /// Names like it.
        nearest: Vec<&'static str>,
    },
    /// A transition has two states.
    #[error("a transition has two states, and \"{}\" is one more", .0.escape_debug())]
    TooMany(String),
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::Unknown { nearest, .. } if !nearest.is_empty() => {
                format!("did you mean {}?", nearest.join(" or ")).into()
            }
            _ => "tcpstate explain lists what can be asked".into(),
        }
    }
}

impl Error {
    fn unknown(word: &str) -> Self {
        let of_states =
            || states().flat_map(|text| spellings(text).map(|name| (name, text.state.name())));
        let names = || of_states().chain(RULES.iter().map(|rule| (rule.id, rule.id)));
        let mut nearest: Vec<&str> = nearest::nearest(word, names().map(|(name, _)| name))
            .into_iter()
            .filter_map(|near| names().find(|&(name, _)| name == near))
            .map(|(_, shown)| shown)
            .collect();
        nearest.dedup();
        Self::Unknown { word: word.to_owned(), nearest }
    }
}

/// Finds what was asked for: nothing, a rule, a state, or two states; an arrow may stand between them.
pub fn answer(words: &[impl AsRef<str>]) -> Result<Answer, Error> {
    let words: Vec<&str> = words
        .iter()
        .flat_map(|word| word.as_ref().split("->").map(str::trim))
        .filter(|word| !word.is_empty())
        .collect();
    match words[..] {
        [] => Ok(Answer::Overview),
        [word] => match Rule::by_id(word) {
            Some(rule) => Ok(Answer::Rule(rule)),
            None => Ok(Answer::State(state_text(state(word)?))),
        },
        [from, to] => {
            let (from, to) = (state(from)?, state(to)?);
            Ok(transition(from, to).map_or_else(
                || Answer::Never { from, to, reason: transitions::why_never(from, to) },
                Answer::Transition,
            ))
        }
        [_, _, more, ..] => Err(Error::TooMany(more.to_owned())),
    }
}

/// The states, in the order in which they are shown.
pub fn states() -> impl Iterator<Item = &'static StateText> {
    states::STATES.iter()
}

/// The transitions, in the order in which they are shown.
pub fn transitions() -> impl Iterator<Item = &'static TransitionText> {
    transitions::TRANSITIONS.iter()
}

/// The transition between two states, if it can be shown.
#[must_use]
pub fn transition(from: State, to: State) -> Option<&'static TransitionText> {
    transitions().find(|pair| (pair.from, pair.to) == (from, to))
}

/// The thresholds that a rule goes by, as they are unless a file says otherwise.
#[must_use]
pub fn thresholds(rule: &Rule) -> Vec<(&'static str, Value)> {
    let defaults: Value = toml::from_str(DEFAULTS).expect("a test reads it");
    let value = |name: &str| {
        let (section, key) = name.split_once('.').expect("it is in a section, as a test shows");
        defaults[section][key].clone()
    };
    rule.thresholds.iter().map(|&name| (name, value(name))).collect()
}

/// The drawing, and how to read it.
#[must_use]
pub fn diagram() -> (&'static str, &'static str) {
    (diagram::DIAGRAM.trim_matches('\n'), diagram::LEGEND)
}

fn state_text(state: State) -> &'static StateText {
    states().find(|text| text.state == state).expect("each state has a text, as a test shows")
}

/// Reads a state in any spelling, the number of `/proc/net/tcp` among them.
fn state(word: &str) -> Result<State, Error> {
    word.parse().ok().or_else(|| by_number(word)).ok_or_else(|| Error::unknown(word))
}

/// `0A`, `0x0a`, `6`: hexadecimal, as the column `st` has it; `10` to `13`, which it never has, are the kernel's own.
fn by_number(word: &str) -> Option<State> {
    let of_radix = |digits: &str, radix| {
        let is_number =
            digits.len() <= 2 && digits.starts_with(|digit: char| digit.is_ascii_digit());
        is_number.then(|| usize::from_str_radix(digits, radix).ok().and_then(State::from_number))?
    };
    match word.strip_prefix("0x") {
        Some(digits) => of_radix(digits, 16),
        None => of_radix(word, 16).or_else(|| of_radix(word, 10)),
    }
}

/// Every spelling of a state that somebody may have meant to type.
fn spellings(text: &'static StateText) -> impl Iterator<Item = &'static str> {
    let Names { ss, netstat, rfc, .. } = text.names;
    [Some(text.state.name()), ss, netstat, rfc].into_iter().flatten()
}
