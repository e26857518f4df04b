//! The output formats of `tcpstate explain`: text and JSON.

mod json;
#[cfg(test)]
mod tests;
mod text;

pub use self::{json::Json, text::Text};
