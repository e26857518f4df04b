//! The id and the name of a process that has sockets open.

/// A process by which sockets can be grouped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The name of the process, which the process itself can change. The name can contain any
    /// bytes.
    pub name: String,
}
