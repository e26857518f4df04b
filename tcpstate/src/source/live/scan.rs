//! Scans the sockets: the BPF iterator visits each socket while the scan flag is set. A scan counts
//! the sockets that were opened before the start, and corrects the effect of missed events.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use tcpstate_common::{
    State,
    abi::{CONTROL_EVENTS, CONTROL_SCAN, CpuSlots},
};

use super::{Live, processor_time::timed};
use crate::{
    probe::{
        Error, Pulse, Touched, kernel, map_error,
        namespaces::{self, Visited},
    },
    report::Missed,
    source::{Identity, Population, Reading, Scan},
};

/// How long a scan waits between t0 and the walk, and between the walk and the clearing of the scan
/// flag.
///
/// The iterator finds a socket only while the socket is in the hash table. The kernel inserts a
/// socket in the hash table after the first event of the socket, and removes the socket from the
/// table before the last event (`tcp_v4_connect`, `tcp_set_state`). Only a few instructions
/// separate the event from the change of the hash table, but the kernel can preempt the task
/// between these instructions. During this wait, a preempted task can finish its change of the hash
/// table.
const SETTLE: Duration = Duration::from_millis(50);

/// The number of spare entries of a scan's map, for sockets that are created during the scan.
const SPARE_ENTRIES: u64 = 16_384;

/// The number of spare entries of a map that is kept for all later scans. The spare entries of a
/// kept map use 5 MiB.
const SPARE_ENTRIES_TO_KEEP: u64 = 65_536;

/// The data of a scan that has begun and has not ended.
pub(super) struct RunningScan {
    pub(super) touched: Touched,
    zero: Option<Reading>,
    before: ScanSums,
    missed_before: Missed,
    visited: Visited,
    cost: Duration,
}

/// The counters that scans change, each counter as the total over all CPUs.
#[derive(Clone, Debug, Default)]
struct ScanSums {
    base: Population,
    /// The part of `base` that belongs to each family, if families are counted separately.
    families: Vec<Population>,
    bases: BTreeMap<Identity, Population>,
    visited: u64,
    map_full: u64,
    map_errors: u64,
}

impl Live {
    /// Begins a scan. The time t0 of the scan is the time when the active buffer changes. Between
    /// `begin_scan` and [`end_scan`](Self::end_scan), events and the walk may happen in any order.
    pub fn begin_scan(&mut self) -> Result<(), Error> {
        let (touched, cost) = if let Some(touched) = self.kept.take() {
            (touched, Duration::ZERO)
        } else {
            let (entries, cost) = self.entries()?;
            (new_touched(entries)?, cost)
        };
        self.probe.touched.set(0, &touched, 0).map_err(map_error("update", "TOUCHED"))?;
        let before = self.scan_sums()?;
        // The number of missed events is read before the flip. If tracing misses an event between
        // the read and the flip, the scan corrects the event, but tcpstate reports the event as
        // uncorrected. The opposite error cannot happen: an uncorrected event is never reported as
        // corrected.
        let missed_before = self.missed()?;
        self.scan = Some(RunningScan {
            touched,
            zero: None,
            before,
            missed_before,
            visited: Visited::default(),
            cost,
        });
        match self.flip(CONTROL_SCAN) {
            Ok(zero) => {
                if let Some(scan) = &mut self.scan {
                    scan.zero = Some(zero);
                }
                Ok(())
            }
            Err(error) => {
                self.abandon_scan();
                Err(error)
            }
        }
    }

    /// Clears the scan flag after an error. The function ignores further errors, because the next
    /// cut writes the control word again.
    fn abandon_scan(&mut self) {
        self.control &= !CONTROL_SCAN;
        let _ = self.set_control();
        self.scan = None;
        let _ = self.wait_for_programs();
    }

    /// Makes the iterator visit every socket of the namespace, or of every namespace.
    ///
    /// The function lists the network namespaces during the walk, after t0. A namespace that is
    /// created after the listing had no sockets at t0.
    pub fn walk(&mut self) -> Result<(), Error> {
        let sockets = &self.probe.sockets;
        let walk = || sockets.run();
        let (visited, cost) = if self.namespaces.is_some() {
            each_namespace(&self.pulse, walk)?
        } else {
            (Visited::default(), timed(walk)?.1)
        };
        if let Some(scan) = &mut self.scan {
            scan.visited = visited;
            scan.cost += cost;
        }
        Ok(())
    }

    /// Clears the scan flag and returns the results of the scan.
    ///
    /// # Panics
    /// Panics if no scan has begun.
    pub fn end_scan(&mut self) -> Result<Scan, Error> {
        if mem::take(&mut self.starts_events) {
            self.events = CONTROL_EVENTS;
        }
        let end = self.flip(0)?;
        let scan = self.scan.take().expect("the caller began a scan");
        let RunningScan { mut touched, zero, before, missed_before, visited, cost } = scan;
        // The map of a scan may be emptied or removed only when no BPF program can still use an old
        // control word in which the scan flag is set.
        self.wait_for_programs()?;
        if self.keeps_scan_map {
            empty(&mut touched)?;
            self.kept = Some(touched);
        }
        let found = self.scan_sums()?.since(&before);
        if found.map_full > 0 {
            self.growth *= 2;
        }
        let zero = zero.expect("the scan began with it");
        let hidden = hidden(&zero, &end, &visited);
        self.unentered = visited.refused + hidden.len() as u64;
        if self.namespaces.is_some() && self.unentered == 0 {
            self.unentered = u64::from(has_hidden_orphans(&found.base, &zero, &end));
        }
        Ok(Scan {
            zero,
            base: found.base,
            family_bases: found.families.try_into().ok(),
            bases: found.bases,
            end,
            missed_before,
            visited: found.visited,
            map_full: found.map_full,
            map_errors: found.map_errors,
            unentered: self.unentered,
            hidden,
            cost,
        })
    }

    /// Makes a complete scan.
    pub fn scan(&mut self) -> Result<Scan, Error> {
        let (scan, here) = timed(|| {
            self.begin_scan()?;
            thread::sleep(SETTLE);
            let walked = self.walk();
            thread::sleep(SETTLE);
            // If the walk failed, the end of the scan removes the map of the scan.
            let scan = self.end_scan()?;
            walked.map(|()| scan)
        })?;
        // The walk over several namespaces uses another thread.
        let walk = if self.namespaces.is_some() { scan.cost } else { Duration::ZERO };
        Ok(Scan { cost: here + walk, ..scan })
    }

    /// Returns how many sockets fit in the next scan's map, and the CPU time that was used to find
    /// this number.
    fn entries(&self) -> Result<(u32, Duration), Error> {
        if let Some(entries) = self.max_scan_sockets {
            return Ok((entries, Duration::ZERO));
        }
        let mut sockets = 0;
        let mut count = || {
            sockets += kernel::hashed_sockets();
            Ok(())
        };
        let cost = if self.namespaces.is_some() {
            each_namespace(&self.pulse, count)?.1
        } else {
            timed(&mut count)?.1
        };
        let entries = if self.keeps_scan_map {
            2 * sockets + SPARE_ENTRIES_TO_KEEP
        } else {
            (sockets + sockets / 4 + SPARE_ENTRIES) * self.growth
        };
        Ok((u32::try_from(entries).unwrap_or(u32::MAX), cost))
    }

    fn scan_sums(&self) -> Result<ScanSums, Error> {
        let mut sums = ScanSums::of(&self.slots()?);
        if let Some(namespaces) = &self.namespaces {
            sums.bases = namespaces.bases()?;
        }
        Ok(sums)
    }
}

impl ScanSums {
    fn of(families: &[Vec<CpuSlots>]) -> Self {
        let mut sums = Self::default();
        for cpus in families {
            let mut base = Population::default();
            for cpu in cpus {
                base.add(&cpu.base, &cpu.base_minis);
            }
            sums.base.add(&base.full, &base.minis);
            sums.families.push(base);
        }
        for cpu in families.iter().flatten() {
            sums.visited += cpu.visited;
            sums.map_full += cpu.map_full;
            sums.map_errors += cpu.map_errors;
        }
        sums
    }

    fn since(&self, before: &Self) -> Self {
        let nothing = Population::default();
        let base = |(identity, base): (&Identity, &Population)| {
            (*identity, base.since(before.bases.get(identity).unwrap_or(&nothing)))
        };
        let families = self.families.iter().zip(&before.families);
        Self {
            base: self.base.since(&before.base),
            families: families.map(|(now, then)| now.since(then)).collect(),
            bases: self.bases.iter().map(base).collect(),
            visited: self.visited - before.visited,
            map_full: self.map_full - before.map_full,
            map_errors: self.map_errors - before.map_errors,
        }
    }
}

/// Returns the network namespaces that existed during the whole scan, but that the scan could not
/// visit.
fn hidden(zero: &Reading, end: &Reading, visited: &Visited) -> BTreeSet<Identity> {
    let (Some(zero), Some(end)) = (&zero.namespaces, &end.namespaces) else {
        return BTreeSet::new();
    };
    let is_alive = |identity: &Identity| end.get(identity).is_some_and(|there| !there.is_gone);
    let hidden = zero
        .iter()
        .filter(|(identity, namespace)| is_alive(identity) && !visited.found(namespace.inode));
    hidden.map(|(identity, _)| *identity).collect()
}

/// Returns whether the host has more orphans than the scan found. The other orphans then belong to
/// a namespace that only they keep alive. Such a namespace has no row until one of its sockets
/// changes its state.
///
/// The kernel has one number of orphans for the whole host. An orphan is a full socket in one of
/// four states, but not every socket in these states is an orphan.
fn has_hidden_orphans(base: &Population, zero: &Reading, end: &Reading) -> bool {
    const STATES: [State; 4] = [State::FinWait1, State::FinWait2, State::Closing, State::LastAck];
    let (Some(before), Some(after)) = (zero.kernel.orphans, end.kernel.orphans) else {
        return false;
    };
    let in_scan = end.counts.flows.since(&zero.counts.flows);
    let found = |state: State| base.full[state.number()] + in_scan.full(state).entered;
    before.min(after) > STATES.into_iter().map(found).sum()
}

/// Calls `visit` in each network namespace, on a separate thread. Returns the visited namespaces
/// and the CPU time of the visits.
pub(super) fn each_namespace(
    pulse: &Pulse,
    visit: impl FnMut() -> Result<(), Error> + Send,
) -> Result<(Visited, Duration), Error> {
    let worker = || timed(|| namespaces::visit_each(pulse, visit));
    let result = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, worker);
        let action = "start a thread that enters network namespaces";
        thread.map(ScopedJoinHandle::join).map_err(|source| Error::System { action, source })
    })?;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(super) fn new_touched(entries: u32) -> Result<Touched, Error> {
    Touched::create(entries, 0).map_err(map_error("create", "TOUCHED"))
}

/// Removes all entries of a scan's map.
fn empty(touched: &mut Touched) -> Result<(), Error> {
    let keys: Vec<_> =
        touched.keys().collect::<Result<_, _>>().map_err(map_error("read", "TOUCHED"))?;
    for key in keys {
        touched.remove(&key).map_err(map_error("update", "TOUCHED"))?;
    }
    Ok(())
}
