//! The trait that all errors of this crate implement. The module imports only the standard library,
//! so that every module can implement the trait.

use std::{borrow::Cow, error::Error};

/// The help line of an error whose cause is the limit of processes and threads.
pub(crate) const MORE_PROCESSES: &str =
    "raise the limit of processes (ulimit -u, or pids.max of the cgroup)";

/// An error of this crate. `Display` prints the whole cause of the error on one line, including the
/// text of `source`.
pub trait Help: Error {
    /// Returns the help line: an action that helps the user.
    fn help(&self) -> Cow<'static, str>;
}
