//! What this kernel, these privileges and this container allow: what `trace` will say, before it does.
//!
//! ```text
//! the running system -> facts, live -> kernel, privileges, confinement, hooks, quirks -> features -> view
//!                                 `---------------------------------------> verdict
//! ```
//!
//! [`Facts`] are gathered once; all else is a pure function of them. Causes and help_lines are those of
//! [`probe::Error`](crate::probe::Error), so that nothing is said in two ways.

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

/// How it is with a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing to wish for.
    Ok,
    /// It is not there.
    Missing,
    /// It is there, at a price.
    Degraded,
    /// Nobody knows: trying it is not permitted.
    Untested,
}

impl Status {
    /// As it is called in output.
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

/// One thing that counting rests on, or could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is called in output; stays the same.
    pub id: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What helps, if something is to be helped.
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

    /// Not tried, because of this. What helps is said where that is missing, and in the last line.
    fn untested(id: &'static str, failure: &Failure) -> Self {
        let detail = format!("not tried: {}", failure.cause);
        Self { id, status: Status::Untested, detail, help: None }
    }

    /// What became of an attempt.
    fn of(id: &'static str, attempt: &Attempt, detail: impl Into<String>) -> Self {
        match attempt {
            Ok(()) => Self::ok(id, detail),
            Err(failure) => Self::missing(id, failure),
        }
    }
}

/// All features, in the order in which they build on each other; the last one is `trace` itself.
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

/// Whether `trace` would be exact.
#[must_use]
pub fn is_exact(features: &[Feature]) -> bool {
    features.last().is_some_and(|trace| trace.status == Status::Ok)
}
