//! Finds the ports of the listeners that exist at the start, for histograms by port.

use std::collections::HashSet;

use super::{Live, each_namespace};
use crate::{probe::Error, report::Counted, source::sock_diag::listening_ports};

impl Live {
    /// Tells the programs the ports of the existing listeners, if the programs need them. The ports
    /// of namespaces that cannot be entered are not found.
    pub(super) fn mark_listeners(&mut self) -> Result<(), Error> {
        let Some(hook) = &mut self.probe.histograms else { return Ok(()) };
        if !hook.needs_listeners() {
            return Ok(());
        }
        let mut ports = HashSet::new();
        if self.probe.counted == Counted::All {
            let visit = || {
                ports.extend(listening_ports().unwrap_or_default());
                Ok(())
            };
            each_namespace(&self.pulse, visit)?;
        } else {
            ports.extend(listening_ports().unwrap_or_default());
        }
        hook.mark_listeners(&ports)
    }
}
