//! Readings and passes become gauges, rates and the statement of how exact they are. No I/O, no clock.

mod books;
pub mod census;
mod cost;
mod drift;
mod endings;
mod families;
mod histogram;
mod ledger;
mod reconcile;
mod rows;
mod silence;
mod snapshot;
mod time_wait;
mod verify;

pub use self::{
    census::{By, Census, Count},
    endings::{EndingCounts, Endings, Ends, PortEnds},
    histogram::{Bucket, Histogram, Histograms, Kind, Of},
    ledger::{Ledger, Providers},
    reconcile::{Reconcile, Situation},
    snapshot::{
        Cost, Exits, FamilyRow, Gauge, Hooks, InPlace, NamespaceRow, NamespaceStart, Report, Runs,
        Snapshot, Start, TimeWait, Transition,
    },
    verify::{Difference, Verdict},
};
