//! Finds the ports of the listeners that exist at the start, for histograms by port.

use std::collections::BTreeSet;

use tcpstate_common::State;

use super::{Live, each_namespace};
use crate::{
    filter::Filter,
    probe::Error,
    report::Counted,
    source::sock_diag::{self, Query, Socket},
};

impl Live {
    /// Tells the programs the ports of the existing listeners, if the programs need them. The ports
    /// of namespaces that cannot be entered are not found.
    pub(super) fn mark_listeners(&mut self) -> Result<(), Error> {
        let Some(hook) = &mut self.probe.histograms else { return Ok(()) };
        if !hook.needs_listeners() {
            return Ok(());
        }
        let mut ports = BTreeSet::new();
        if self.probe.counted == Counted::All {
            let visit = || {
                ports.extend(listening());
                Ok(())
            };
            each_namespace(&self.pulse, visit)?;
        } else {
            ports.extend(listening());
        }
        hook.mark_listeners(&ports)
    }
}

/// Returns the ports of the listeners of the calling thread's network namespace.
fn listening() -> BTreeSet<u16> {
    let filter = Filter { states: [State::Listen].into_iter().collect(), ..Filter::default() };
    let add = |ports: &mut BTreeSet<u16>, socket: &Socket| {
        ports.insert(socket.local.port());
    };
    let answer = sock_diag::collect(&Query::of(&filter), BTreeSet::new, add);
    answer.map(|answer| answer.sum).unwrap_or_default()
}
