//! `tcpstate check`: the features of this kernel, these privileges and this container, and whether
//! `trace` would be exact.
//!
//! ```text
//! the running system -> facts, live -> kernel, privileges, confinement, hooks, quirks, proof
//!                                   -> verdict
//!                                   -> features -> view
//! ```
//!
//! [`Facts`] are read once. Pure functions compute all features from the facts. `check` and `trace`
//! print the same causes and help lines, because both take the texts from
//! [`probe::Error`](crate::probe::Error).

mod confinement;
mod facts;
mod hooks;
mod kernel;
mod live;
mod privileges;
mod proof;
mod quirks;
mod verdict;

pub use self::{
    facts::{Attempt, Facts, Failure, Parts, Whole},
    live::{Checkpoint, Live, prove},
};

/// The status of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The feature works.
    Ok,
    /// The feature does not work.
    Missing,
    /// The feature works, but has a restriction.
    Degraded,
    /// The feature was not tried, because this process may not try it.
    Untested,
}

impl Status {
    /// Returns the word that stands for the status in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Degraded => "degraded",
            Self::Untested => "untested",
        }
    }
}

/// A feature of the system that `trace` needs or can use to count sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The name of the feature in the output. Scripts may rely on this name, so the name never
    /// changes.
    pub id: &'static str,
    /// The status.
    pub status: Status,
    /// The details that explain the status.
    pub detail: String,
    /// The advice, if there is any.
    pub help: Option<String>,
}

impl Feature {
    fn ok(id: &'static str, detail: impl Into<String>) -> Self {
        Self { id, status: Status::Ok, detail: detail.into(), help: None }
    }

    fn wanting(
        id: &'static str,
        status: Status,
        detail: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { id, status, detail: detail.into(), help: Some(help.into()) }
    }

    fn missing(id: &'static str, failure: &Failure) -> Self {
        Self::wanting(id, Status::Missing, &failure.cause, &failure.help)
    }

    /// Returns a feature with the status `Untested`, because `failure` prevented the attempt. The
    /// feature has no advice: the feature that failed and the last feature print the advice.
    fn untested(id: &'static str, failure: &Failure) -> Self {
        let detail = format!("not tried: {}", failure.cause);
        Self { id, status: Status::Untested, detail, help: None }
    }

    /// Returns the feature that has the status and the texts for this result of an attempt.
    fn of(id: &'static str, attempt: &Attempt, detail: impl Into<String>) -> Self {
        match attempt {
            Ok(()) => Self::ok(id, detail),
            Err(failure) => Self::missing(id, failure),
        }
    }
}

/// Returns all features. A feature that needs other features follows these features. The last
/// feature is `trace` itself.
#[must_use]
pub fn features(facts: &Facts) -> Vec<Feature> {
    let mut features = kernel::features(facts);
    features.extend(privileges::features(facts));
    features.extend(confinement::features(facts));
    features.extend(hooks::features(facts));
    features.extend(quirks::features(facts));
    features.extend(facts.live.as_ref().map(proof::features).unwrap_or_default());
    features.push(verdict::trace(facts));
    features
}

/// Returns whether `trace` would count all sockets and transitions exactly.
#[must_use]
pub fn is_exact(features: &[Feature]) -> bool {
    features.last().is_some_and(|trace| trace.status == Status::Ok)
}
