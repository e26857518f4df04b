//! A process that has sockets open.

/// A process, by which sockets can be grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The name that it has given itself, whatever bytes those are.
    pub name: String,
}
