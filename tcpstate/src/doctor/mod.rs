//! What is wrong, how that is known, and what would mend it; nothing is changed.
//!
//! ```text
//! kernel -> facts/: read, twice or once -> rules/: pure functions, by family -> Finding -> view/doctor
//!                                          thresholds: from where on
//! ```
//!
//! All of it works without privilege and without BPF, in the network namespace of the calling thread. What can't be seen
//! is a finding of its own, of level `unknown`.

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
