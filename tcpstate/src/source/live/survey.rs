//! Makes the lists of a survey in the counted network namespaces.

use std::time::Duration;

use super::{Live, each_namespace, processor_time::timed};
use crate::{
    probe::Error,
    report::Counted,
    source::survey::{Due, List},
};

impl Live {
    /// Makes the lists that are due. Returns the list and its CPU time.
    pub fn survey(&self, due: Due) -> Result<(List, Duration), Error> {
        let mut list = List::new(due);
        let cost = if self.probe.counted == Counted::All {
            let visit = || {
                list.add_here();
                Ok(())
            };
            each_namespace(&self.pulse, visit)?.1
        } else {
            timed(|| {
                list.add_here();
                Ok(())
            })?
            .1
        };
        Ok((list, cost))
    }
}
