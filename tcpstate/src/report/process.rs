//! A process that has sockets open.

/// A process by which sockets can be grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The name that the process has set. The name can contain any bytes.
    pub name: String,
}
