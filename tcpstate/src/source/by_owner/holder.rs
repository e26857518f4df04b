//! Finds the process that alone had connections to a destination at the start. The time-wait
//! sockets from before the start have no process, and this process is the likely one.

use crate::{report::Process, source::owners};

/// The process that had connections to a destination at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// No process had a connection.
    None,
    /// One process had all connections.
    One(Process),
    /// Several processes had connections.
    Several,
}

impl Holder {
    /// Adds a connection of a process.
    pub(super) fn add(&mut self, pid: u32) {
        match self {
            Self::None => *self = Self::One(owners::process(pid)),
            Self::One(process) if process.pid != pid => *self = Self::Several,
            Self::One(_) | Self::Several => {}
        }
    }

    /// Returns the process, if it had all connections and still runs.
    pub(super) fn likely(&self) -> Option<Process> {
        let Self::One(process) = self else { return None };
        // A process that has ended has no name. Another process may have the id by now, but hardly
        // with the same name.
        let now = owners::process(process.pid);
        (!now.name.is_empty() && now == *process).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_alone_is_likely() {
        let mut holder = Holder::None;
        assert_eq!(holder.likely(), None);
        let own = std::process::id();
        holder.add(own);
        holder.add(own);
        assert_eq!(holder.likely().map(|process| process.pid), Some(own));
        holder.add(own + 1);
        assert_eq!(holder.likely(), None);
        let ended = Process { pid: own, name: "another name".to_owned() };
        assert_eq!(Holder::One(ended).likely(), None);
    }
}
