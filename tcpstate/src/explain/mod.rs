//! The texts of `tcpstate explain`: states, transitions and the rules of `doctor`. [`answer`] finds
//! the text for the words of the command line. The texts of the rules are in `doctor::rules`.
//!
//! The module `explain` reads nothing from the system. `view::explain` formats the texts.

mod diagram;
mod states;
mod sysctls;
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
    nearest::{did_you_mean, nearest},
};

/// The texts name kernel functions and defaults of this kernel version.
pub const KERNEL: &str = "v6.12";

/// The text of a state.
#[derive(Clone, Copy, Debug)]
pub struct StateText {
    /// The state.
    pub state: State,
    /// The names of the state in other tools.
    pub names: Names,
    /// What the state says about a socket.
    pub meaning: &'static str,
    /// The events that move a socket from this state to the next state.
    pub moved_on_by: &'static str,
    /// How long a socket stays in the state.
    pub lasts: &'static str,
    /// The settings that change how long sockets stay in the state, or the number of sockets in it.
    pub governed_by: &'static [Setting],
    /// The kernel functions: `file: function`.
    pub kernel: &'static [&'static str],
    /// Sections of RFC 9293.
    pub rfc: &'static str,
    /// What a large number of sockets in the state may indicate.
    pub many: &'static str,
    /// What to do if there are many sockets in the state.
    pub what_to_do: &'static str,
}

/// The names of a state in other tools. A name is `None` if the tool never shows the state.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The name of the state in the first column of `ss`.
    pub ss: Option<&'static str>,
    /// The name of the state in the last column of `netstat`.
    pub netstat: Option<&'static str>,
    /// The hexadecimal number of the state in the column `st` of `/proc/net/tcp`.
    pub proc: Option<&'static str>,
    /// The name of the state in RFC 9293.
    pub rfc: Option<&'static str>,
    /// The value of the label `state` in node_exporter's `node_tcp_connection_states`.
    pub node_exporter: Option<&'static str>,
}

impl StateText {
    /// Returns the metric of `tcpstate serve` for this state, or `None` if no metric contains the
    /// state.
    #[must_use]
    pub fn metric(&self) -> Option<String> {
        State::GAUGES
            .contains(&self.state)
            .then(|| format!("tcpstate_connections{{state=\"{}\"}}", self.state.label()))
    }

    /// Returns the metric of node_exporter for this state. The collector tcpstat of node_exporter
    /// is off by default.
    #[must_use]
    pub fn node_exporter_metric(&self) -> Option<String> {
        self.names
            .node_exporter
            .map(|label| format!("node_tcp_connection_states{{state=\"{label}\"}}"))
    }

    /// Returns the transitions from other states to this state.
    pub fn entered_by(&self) -> impl Iterator<Item = &'static TransitionText> {
        let state = self.state;
        transitions().filter(move |pair| pair.to == state && pair.from != state)
    }

    /// Returns the transitions that begin in this state. The list includes `X -> X` and LISTEN ->
    /// SYN_RECV, although the listener stays in LISTEN.
    pub fn goes_on_by(&self) -> impl Iterator<Item = &'static TransitionText> {
        let state = self.state;
        transitions().filter(move |pair| pair.from == state)
    }
}

/// A setting that changes how long sockets stay in a state, or how many sockets can be in the
/// state.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name of the sysctl or of the socket option.
    pub name: &'static str,
    /// The kernel's default.
    pub default: &'static str,
    /// The effect of the setting.
    pub does: &'static str,
}

/// The text of a transition.
#[derive(Clone, Copy, Debug)]
pub struct TransitionText {
    /// The state before the transition.
    pub from: State,
    /// The state after the transition.
    pub to: State,
    /// What the transition says about the connection.
    pub meaning: &'static str,
    /// The events that cause the transition.
    pub caused_by: &'static str,
    /// The kernel functions: `file: function`.
    pub kernel: &'static [&'static str],
    /// Sections of RFC 9293.
    pub rfc: &'static str,
}

impl TransitionText {
    /// Returns the kind of hook that observes the transition.
    #[must_use]
    pub fn seen(&self) -> Seen {
        seen(self.from, self.to).expect("a test checks that each text has a known transition")
    }

    /// Returns how the transition changes the gauges.
    #[must_use]
    pub fn gauges(&self) -> String {
        let Self { from, to, .. } = self;
        let (leaves, enters) = (*from != State::Close, *to != State::Close);
        if from == to {
            "none".to_owned()
        } else if abi::is_birth(from.number(), to.number()) {
            let stays = if leaves { format!("; {from} does not change") } else { String::new() };
            format!("{to} + 1{stays}")
        } else if enters {
            format!("{from} - 1, {to} + 1")
        } else {
            format!("{from} - 1")
        }
    }
}

/// The text of a sysctl.
#[derive(Clone, Copy, Debug)]
pub struct SysctlText {
    /// The full name, such as `net.ipv4.tcp_tw_reuse`.
    pub name: &'static str,
    /// The effect.
    pub does: &'static str,
    /// The default.
    pub default: &'static str,
    /// The unit, or the possible values.
    pub unit: &'static str,
    /// The kernel versions that have the sysctl.
    pub kernels: &'static str,
    /// The states in which the sysctl changes the number of sockets or how long sockets stay.
    pub states: &'static [State],
    /// When to change the sysctl.
    pub change: &'static str,
    /// Functions of the kernel, as `file: function`.
    pub kernel: &'static [&'static str],
}

impl SysctlText {
    /// Returns the last part of the name, such as `tcp_tw_reuse`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// The page that `tcpstate explain` prints.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// The diagram and the lists of all names.
    Overview,
    /// The text of a state.
    State(&'static StateText),
    /// The text of a transition.
    Transition(&'static TransitionText),
    /// A pair of states. The kernel never moves a socket from the first state to the second state.
    Never {
        /// The state before the transition.
        from: State,
        /// The state that never follows `from`.
        to: State,
        /// The reason.
        reason: &'static str,
    },
    /// The text of a rule of `doctor`.
    Rule(&'static Rule),
    /// The text of a sysctl.
    Sysctl(&'static SysctlText),
}

/// The reason why there is no text for the words of the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No state, rule or sysctl has this name.
    #[error("cannot explain \"{}\": no state, rule or sysctl has this name", word.escape_debug())]
    Unknown {
        /// The word.
        word: String,
        /// Similar names.
        nearest: Vec<&'static str>,
    },
    /// The command line names more than two states.
    #[error("cannot explain more than two states: \"{}\" is the third", .0.escape_debug())]
    TooMany(String),
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let question = match self {
            Self::Unknown { nearest, .. } => did_you_mean(nearest),
            Self::TooMany(_) => None,
        };
        let list = "run tcpstate explain without arguments for a list of all names";
        question.map_or(list.into(), Into::into)
    }
}

impl Error {
    fn unknown(word: &str) -> Self {
        let of_states =
            || states().flat_map(|text| spellings(text).map(|name| (name, text.state.name())));
        let names: Vec<(&str, &'static str)> = of_states()
            .chain(RULES.iter().map(|rule| (rule.id, rule.id)))
            .chain(sysctls().map(|text| (text.short_name(), text.short_name())))
            .collect();
        Self::Unknown { word: word.to_owned(), nearest: shown_nearest(word, &names) }
    }
}

/// Finds the spellings that are most similar to the word, and returns the name that is shown for
/// each spelling.
fn shown_nearest(word: &str, names: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut shown: Vec<&'static str> = nearest(word, names.iter().map(|&(name, _)| name))
        .into_iter()
        .filter_map(|near| names.iter().find(|&&(name, _)| name == near))
        .map(|&(_, shown)| shown)
        .collect();
    shown.dedup();
    shown
}

/// Returns names that are similar to the word. Only states that have a gauge are compared.
#[must_use]
pub fn similar_states(word: &str) -> Vec<&'static str> {
    let gauges = states().filter(|text| State::GAUGES.contains(&text.state));
    let names: Vec<(&str, &'static str)> =
        gauges.flat_map(|text| spellings(text).map(|name| (name, text.state.name()))).collect();
    shown_nearest(word, &names)
}

/// Finds the text for the words of the command line.
///
/// The command line may name a rule, a sysctl, a state or two states, or may be empty. Two states
/// may be separated by an arrow (`->`).
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
            None => match sysctl(word) {
                Some(text) => Ok(Answer::Sysctl(text)),
                None => Ok(Answer::State(state_text(state(word)?))),
            },
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

/// The texts of the states, in the order of the output.
pub fn states() -> impl Iterator<Item = &'static StateText> {
    states::STATES.iter()
}

/// The texts of the transitions, in the order of the output.
pub fn transitions() -> impl Iterator<Item = &'static TransitionText> {
    transitions::TRANSITIONS.iter()
}

/// Returns the sysctls in the order of their names.
pub fn sysctls() -> impl Iterator<Item = &'static SysctlText> {
    sysctls::SYSCTLS.iter()
}

/// Finds a sysctl by its full name or by the last part of the name. The full name may be written
/// with slashes between its parts, not only with dots.
fn sysctl(word: &str) -> Option<&'static SysctlText> {
    let word = word.trim_start_matches("/proc/sys/").replace('/', ".").to_ascii_lowercase();
    sysctls().find(|text| text.name == word || text.short_name() == word)
}

/// Returns the transition from one state to another, or `None` if the kernel never makes the
/// transition.
#[must_use]
pub fn transition(from: State, to: State) -> Option<&'static TransitionText> {
    transitions().find(|pair| (pair.from, pair.to) == (from, to))
}

/// Returns the names and defaults of the thresholds of a rule.
#[must_use]
pub fn thresholds(rule: &Rule) -> Vec<(&'static str, Value)> {
    let defaults: Value = toml::from_str(DEFAULTS).expect("a test parses the defaults");
    let value = |name: &str| {
        let (section, key) =
            name.split_once('.').expect("a test checks that each name has a section");
        defaults[section][key].clone()
    };
    rule.thresholds.iter().map(|&name| (name, value(name))).collect()
}

/// Returns the diagram of the TCP states and its legend.
#[must_use]
pub fn diagram() -> (&'static str, &'static str) {
    (diagram::DIAGRAM.trim_matches('\n'), diagram::LEGEND)
}

fn state_text(state: State) -> &'static StateText {
    states().find(|text| text.state == state).expect("a test checks that each state has a text")
}

/// Parses a state: the name that any tool uses for the state, or the state's number in
/// `/proc/net/tcp`.
fn state(word: &str) -> Result<State, Error> {
    word.parse().ok().or_else(|| by_number(word)).ok_or_else(|| Error::unknown(word))
}

/// Parses the number that stands for a state. `0A`, `0x0a` and `6` are hexadecimal, as in the
/// column `st`. `10` to `13` never occur in the column `st`, so these four words are the kernel's
/// decimal numbers.
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

/// Returns all spellings of a state. A mistyped word is compared with each spelling.
fn spellings(text: &'static StateText) -> impl Iterator<Item = &'static str> {
    let Names { ss, netstat, rfc, .. } = text.names;
    [Some(text.state.name()), ss, netstat, rfc].into_iter().flatten()
}
