//! The types that both halves of tcpstate share.
//!
//! The kernel half counts. The user half sums and displays the counts. This crate holds the TCP
//! [`State`]s, the [`transitions`] between them, and the layout of the shared memory ([`abi`],
//! [`filter`], [`histogram`]). It depends on `core` only.
#![no_std]

pub mod abi;
pub mod filter;
pub mod histogram;
mod state;
pub mod transitions;

pub use state::{State, UnknownState};
