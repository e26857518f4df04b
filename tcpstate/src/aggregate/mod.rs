//! Readings and passes become gauges, rates and the statement of how exact they are. No I/O, no clock.

mod books;
mod ledger;
mod reconcile;
mod rows;
mod silence;
mod snapshot;
mod time_wait;

pub use self::{
    ledger::{Ledger, Providers},
    reconcile::{Reconcile, Situation},
    snapshot::{
        Exits, Gauge, Hooks, InPlace, NamespaceRow, NamespaceStart, Report, Snapshot, Start,
        TimeWait, Transition,
    },
};
