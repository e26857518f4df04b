//! Reads the numbers of failed connects.

use super::Live;
use crate::{
    probe::{Error, map_error},
    report::FailedConnects,
    source::close_reason::of_failed_connect,
};

impl Live {
    /// Returns the number of failed connects since the programs were attached, if failed connects
    /// are counted.
    pub fn failed_connects(&self) -> Result<Option<FailedConnects>, Error> {
        let Some(map) = &self.probe.failed_connects else { return Ok(None) };
        let of_cpus = map.get(&0, 0).map_err(map_error("read", "FAILED_CONNECTS"))?;
        let mut failed = FailedConnects::default();
        for counts in of_cpus.iter() {
            for (slot, &count) in counts.iter().enumerate() {
                failed.add(of_failed_connect(slot), count);
            }
        }
        Ok(Some(failed))
    }
}
