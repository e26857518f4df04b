//! The trait of all errors of this crate. It imports only the standard library, so that every
//! module can implement it.

use std::{borrow::Cow, error::Error};

/// An error of this crate. `Display` prints the whole cause on one line, including the text of
/// `source`.
pub trait Help: Error {
    /// Returns the help line: an action that helps the user.
    fn help(&self) -> Cow<'static, str>;
}
