//! Lists all sockets for an audit, while no socket changes its state.
//!
//! `sock_diag` lists the sockets of one network namespace, and needs less CPU time than a scan. The
//! iterator lists the sockets of all network namespaces, because only the BPF programs know to
//! which row a socket belongs.

use std::time::Duration;

use tcpstate_common::abi::STATE_SLOTS;

use super::{Live, processor_time::timed};
use crate::{
    filter::Filter,
    probe::Error,
    report::Family,
    source::{Counts, Listing, Reading, Scan, sock_diag},
};

impl Live {
    /// Lists all counted sockets. `reading` is the last cut. Returns the list and the CPU time of
    /// this call. Returns no list if a socket changed its state since the cut, or if the sockets
    /// cannot be listed.
    pub fn list(&mut self, reading: &Reading) -> Result<(Option<Listing>, Duration), Error> {
        if self.namespaces.is_some() {
            return self.list_by_iterator(&reading.counts);
        }
        timed(|| {
            let Some(listing) = self.list_by_sock_diag() else { return Ok(None) };
            Ok(self.has_not_moved()?.then_some(listing))
        })
    }

    fn list_by_sock_diag(&self) -> Option<Listing> {
        let of_family = |family| {
            let filter = Filter { family: Some(family), ..Filter::default() };
            sock_diag::count_by_state(&filter).ok()
        };
        if let Some(family) = self.probe.family {
            return Some(Listing { states: of_family(family)?, ..Listing::default() });
        }
        let [v4, v6] = Family::BOTH.map(of_family);
        let (v4, v6): ([u64; STATE_SLOTS], [u64; STATE_SLOTS]) = (v4?, v6?);
        let states = std::array::from_fn(|slot| v4[slot] + v6[slot]);
        let is_by_family = self.buffers.len() > 1;
        Some(Listing { states, families: is_by_family.then_some([v4, v6]), ..Listing::default() })
    }

    /// Lists the sockets by a scan without pauses. The scan is right because no socket changes its
    /// state.
    fn list_by_iterator(&mut self, counts: &Counts) -> Result<(Option<Listing>, Duration), Error> {
        let ((), begin) = timed(|| self.begin_scan())?;
        let walked = self.walk();
        let (scan, end) = timed(|| self.end_scan())?;
        walked?;
        let cost = begin + end + scan.cost;
        let is_still = scan.zero.counts == *counts && scan.end.counts == *counts;
        let is_whole = scan.map_full + scan.map_errors == 0;
        let of_rows = |scan: &Scan| {
            scan.bases.iter().map(|(&identity, base)| (identity, base.states())).collect()
        };
        let listing = (is_still && is_whole).then(|| Listing {
            states: scan.base.states(),
            families: scan.family_bases.map(|bases| bases.map(|base| base.states())),
            namespaces: Some(of_rows(&scan)),
            unentered: scan.unentered,
            hidden: scan.hidden,
        });
        Ok((listing, cost))
    }
}
