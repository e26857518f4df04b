//! Readings and passes become gauges, rates and the statement of how exact they are. No I/O, no clock.

pub mod census;
mod cost;
mod ledger;
mod reconcile;
mod silence;
mod snapshot;
mod time_wait;

pub use self::{
    census::{By, Census, Count},
    ledger::{Ledger, Providers},
    reconcile::{Reconcile, Situation},
    snapshot::{
        Cost, Exits, Gauge, Hooks, InPlace, Report, Runs, Snapshot, Start, TimeWait, Transition,
    },
};
