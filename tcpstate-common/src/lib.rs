//! The types that the BPF programs and the user-space program share.
//!
//! The BPF programs count transitions. The user-space program sums and displays the counts. This
//! crate holds the TCP [`State`]s, the [`transitions`] between them, and the layout of the shared
//! memory ([`abi`], [`filter`], [`histogram`]). This crate depends on `core` only.
#![no_std]

pub mod abi;
pub mod filter;
pub mod histogram;
mod state;
pub mod transitions;

pub use state::{State, UnknownState};
