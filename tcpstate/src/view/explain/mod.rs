//! Explanations, for people and for programs.

mod json;
#[cfg(test)]
mod tests;
mod text;

pub use self::{json::Json, text::Text};
