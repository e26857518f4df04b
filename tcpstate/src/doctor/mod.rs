//! `tcpstate doctor`: finds problems, shows the numbers that prove them, and gives advice.
//! `tcpstate doctor` changes nothing on the system.
//!
//! ```text
//! kernel -> facts/: counters read twice, sockets once -> rules/: pure functions, thresholds
//!        -> Finding -> view/doctor
//! ```
//!
//! Everything works without privilege and without BPF, in the network namespace of the calling
//! thread. If a rule cannot read its data, its finding has the level `unknown`.

pub mod facts;
pub mod rules;
#[cfg(test)]
mod tests;
pub mod thresholds;

pub use self::{
    facts::{Facts, Opening, Paths},
    rules::{Finding, Level, RULES, Rule, diagnose},
    thresholds::Thresholds,
};
