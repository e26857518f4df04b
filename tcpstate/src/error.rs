//! The trait that all errors of this crate implement. The module imports only the standard library,
//! so that every module can implement the trait.

use std::{borrow::Cow, error::Error};

/// An error of this crate. `Display` prints the whole cause of the error on one line, including the
/// text of `source`.
pub trait Help: Error {
    /// Returns the help line: an action that helps the user.
    fn help(&self) -> Cow<'static, str>;
}
