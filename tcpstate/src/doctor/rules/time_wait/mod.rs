//! Rules about TIME_WAIT: the limit of time-wait sockets, the reuse of ports, and settings that do
//! not shorten TIME_WAIT.

mod amount;
mod limit;
mod reuse;

pub(super) use self::{
    amount::{T8, T9, T10},
    limit::{T1, T2},
    reuse::{T3, T5, T6, T7, has_loopback_reuse, reuse},
};
