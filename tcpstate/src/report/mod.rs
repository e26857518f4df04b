//! The reports of a run as plain data. The modules `source` and `aggregate` make reports. The
//! module `recording` stores reports, and the module `view` shows reports.
//!
//! The module contains only types, and functions that compute values from the fields of these
//! types. The module performs no I/O, reads no clock and imports no other module of this crate.

mod cgroup;
mod close_reason;
mod connection;
pub mod container;
mod cost;
pub mod count;
mod event;
mod failed_connects;
mod family;
mod gauge;
mod histogram;
mod hooks;
pub mod key;
mod key_series;
mod limit;
mod losses;
mod namespace;
mod owners;
mod process;
mod snapshot;
mod survey;
mod tally;
mod time_wait;
mod verdict;

#[cfg(test)]
pub(crate) use self::event::bare;
pub use self::{
    cgroup::Cgroup,
    close_reason::{CloseReason, CloseReasons, PortReasons, ReasonCounts},
    connection::{Connection, Role},
    cost::{Cost, Runs},
    event::{Caller, Event, Hook},
    failed_connects::{ConnectFailure, FailedConnects},
    family::Family,
    gauge::{FamilyRow, Gauge, Transition},
    histogram::{Bucket, Histogram, Histograms, Of, SocketKind},
    hooks::{Attached, Hooks, Minis, Provider, Transitions},
    key::Key,
    key_series::{KeySeries, OwnerSeries, SeriesOf},
    limit::{Acceptors, Effect, Limit, Reason, UnknownOwners},
    losses::{Losses, Missed},
    namespace::{Counted, NamespaceRow, NamespaceStart},
    owners::{Column, OwnerCounts, OwnerGroup, OwnerKind, Owners, Totals},
    process::Process,
    snapshot::{Report, Snapshot, Start},
    survey::{ListenDrops, LocalPorts},
    tally::{Group, Tally, Untimed},
    time_wait::{Exits, TimeWait},
    verdict::{Difference, Verdict},
};
