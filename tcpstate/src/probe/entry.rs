//! Moves the calling thread into the counted network namespace.

use std::{fs, os::unix::fs::MetadataExt as _};

use caps::{CapSet, Capability};

use super::{
    Error,
    netns::{self, Netns},
};
use crate::report::Counted;

impl Netns {
    /// Permanently moves the calling thread into the counted network namespace. If all namespaces
    /// are counted, the thread does not change its namespace.
    pub fn enter(&self) -> Result<Counted, Error> {
        match self {
            Self::Own => {}
            Self::All => {
                let what = || "count all network namespaces".to_owned();
                let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN);
                let may = may.unwrap_or(false);
                return if may {
                    Ok(Counted::All)
                } else {
                    Err(netns::Error::Refused { what: what() })?
                };
            }
            Self::Name(_) | Self::Path(_) | Self::Pid(_) => self.enter_other()?,
        }
        let own = fs::metadata(netns::OWN).map_err(netns::Error::NoProc)?;
        Ok(Counted::One(own.ino()))
    }
}
