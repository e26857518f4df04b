//! Readings and passes become gauges, rates and the statement of how exact they are. No I/O, no clock.

mod ledger;
mod reconcile;
mod snapshot;

pub use self::{
    ledger::Ledger,
    reconcile::{Reconcile, Situation},
    snapshot::{Exits, Gauge, Hooks, Report, Snapshot, Start, TimeWait, Transition},
};
