//! What both halves of tcpstate agree on.
//!
//! The kernel half counts, the user half adds up and shows; this crate holds the two things they share:
//! the TCP [`State`]s and the layout of the memory between them ([`abi`], [`histogram`]). It needs nothing but `core`.
#![no_std]

pub mod abi;
pub mod histogram;
mod state;

pub use state::{State, UnknownState};
