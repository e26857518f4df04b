//! Readings and scans become gauges, rates and the statement of how exact they are. No I/O, no clock.

mod books;
pub mod census;
mod cost;
mod drift;
mod endings;
mod families;
mod histogram;
mod ledger;
mod providers;
mod reconcile;
mod rows;
mod silence;
mod time_wait;
mod verify;

pub use self::{
    census::Census,
    endings::EndingCounts,
    ledger::Ledger,
    providers::Providers,
    reconcile::{Reconcile, Situation},
};
