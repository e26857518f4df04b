//! What both halves of tcpstate agree on.
//!
//! The kernel half counts, the user half adds up and shows; this crate holds what they share:
//! the TCP [`State`]s, the [`transitions`] between them, and the layout of the memory between them ([`abi`], [`filter`], [`histogram`]). It needs nothing but `core`.
#![no_std]

pub mod abi;
pub mod filter;
pub mod histogram;
mod state;
pub mod transitions;

pub use state::{State, UnknownState};
