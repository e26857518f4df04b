//! What each of our own errors can say besides its cause. Imports the standard library only, so that every module may
//! implement it.

use std::{borrow::Cow, error::Error};

/// An error of a module of ours. `Display` names the whole cause on one line, whatever its `source` is.
pub trait Help: Error {
    /// What the user can do about it.
    fn help(&self) -> Cow<'static, str>;
}
