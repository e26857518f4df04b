//! `tcpstate doctor`: finds problems, shows the numbers that prove the problems, and gives advice.
//! `tcpstate doctor` changes nothing on the system.
//!
//! ```text
//! kernel -> facts/: counters read twice, sockets once -> rules/: pure functions, thresholds
//!        -> Finding -> view/doctor
//! ```
//!
//! `tcpstate doctor` needs no privilege and no BPF, and checks the network namespace of the calling
//! thread. If a rule cannot read the data that it needs, the rule reports a finding of level
//! `unknown`.

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
