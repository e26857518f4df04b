//! Computes gauges and rates from readings and scans, and determines whether the gauges are exact.
//! The module performs no I/O and reads no clock.

mod accuracy;
mod aggregator;
mod audit;
pub mod census;
mod close_reason;
mod cost;
mod dead_hooks;
mod drift;
mod families;
mod gauges;
mod histogram;
mod namespaces;
mod owner_series;
mod owners;
mod providers;
mod reconcile;
mod time_wait;
mod verify;

pub use self::{
    aggregator::Aggregator,
    audit::{MAX_AUDIT_CPU, Way},
    census::Census,
    close_reason::CloseReasonCounter,
    providers::Providers,
    reconcile::{Reconcile, Situation},
};
