//! Reads the counters by owner, and gives the numbers of owners that have gone to new owners.
//!
//! ```text
//! earlier   the owners of sockets that existed before the start, from sock_diag and /proc
//! holder    the process that alone has connections to a destination
//! values    an owner's key, as the programs store it, and the values that output shows
//! mod       the rows of counters, read after each cut
//! ```

mod earlier;
mod holder;
mod values;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aya::{maps::PerCpuValues, util::nr_cpus};
use tcpstate_common::abi::{
    FIRST_OWNER, LIVE_REFERENCES, LIVE_WAITING, OWNER_OTHER, OWNER_PROCESS, OWNER_UNKNOWN,
    OwnerKey, OwnerMemory, OwnerRow, ProcessKey, STATE_SLOTS,
};

pub(super) use self::earlier::Listed;
use self::holder::Holder;
use self::values::Values;
use crate::{
    probe::{Error, OwnerHook, map_error},
    report::{Column, Key, OwnerCounts, OwnerKind, Process},
};

/// How long an owner that is no process has no socket before another owner can get its number.
const IDLE: Duration = Duration::from_secs(60);

/// How often the row of unknown owners is read again. A time-wait socket counts there for about a
/// microsecond, until its full socket closes. The smallest reading lacks such sockets.
const UNKNOWN_READINGS: u32 = 4;

/// The counters of all owners at one moment.
#[derive(Clone, Debug, Default)]
pub struct OwnerReading {
    /// The keys that distinguish owners.
    pub by: Vec<Key>,
    /// The row of each owner, and the rows of other owners and of unknown owners.
    pub rows: Vec<RowReading>,
    /// The counts of the owners whose numbers were given to other owners.
    pub gone: OwnerCounts,
    /// The number of children that were accepted, or that ended without accept().
    pub accepted: u64,
    /// The number of children that wait for accept().
    pub waiting: u64,
    /// The number of sockets whose owner found no free number.
    pub without_room: u64,
    /// The number of sockets that did not fit in a table, or whose events do not fit together.
    pub untracked: u64,
}

/// The counters of one owner.
#[derive(Clone, Debug)]
pub struct RowReading {
    /// A number that no other owner of the run has.
    pub id: u64,
    /// The owner.
    pub kind: Arc<OwnerKind>,
    /// The counts since the start.
    pub counts: OwnerCounts,
    /// The number of sockets now, by the state's kernel number.
    pub live: [i64; STATE_SLOTS],
    /// The only process that had connections to the owner's destination at the start. The field is
    /// `None` if there was no such process or if the process has ended.
    pub likely: Option<Process>,
    /// Whether the owner is a process that has ended and has no sockets.
    pub has_ended: bool,
}

/// The maps of the counters by owner, and what user space knows of each owner.
pub(super) struct ByOwner {
    hook: OwnerHook,
    known: BTreeMap<u32, Known>,
    values: Values,
    next_id: u64,
    /// The number of owners that the programs had numbered at the last look into the map.
    numbered: u64,
    /// The sums of all rows that were given to other owners.
    gone: OwnerCounts,
    /// Whether numbers became free since the last look into the map.
    has_changed: bool,
    /// How often numbers were given to other owners.
    generation: u64,
}

/// An owner that has a number.
struct Known {
    id: u64,
    key: OwnerKey,
    kind: Arc<OwnerKind>,
    /// The sockets that existed before the start, by the state's kernel number. The programs count
    /// from these numbers on.
    base: [i64; STATE_SLOTS],
    /// Since when the owner has had no socket.
    idle: Option<Instant>,
    /// Whether the owner is a process that has ended and had no sockets at the last reading.
    has_ended: bool,
    /// Whether the map from keys to numbers lacks the owner, because another number has its key.
    is_replaced: bool,
    /// The process that had connections to the owner's destination at the start.
    holder: Holder,
}

/// The sum of a row over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    counts: OwnerCounts,
    live: [i64; STATE_SLOTS],
}

impl ByOwner {
    /// Takes over the maps.
    pub(super) fn new(hook: OwnerHook) -> Self {
        Self {
            hook,
            known: BTreeMap::new(),
            values: Values::default(),
            next_id: u64::from(FIRST_OWNER),
            numbered: 0,
            gone: OwnerCounts::default(),
            has_changed: true,
            generation: 0,
        }
    }

    /// Reads the counters of all owners.
    pub(super) fn read(&mut self) -> Result<OwnerReading, Error> {
        let memory = self.memory()?;
        let sum = |of: fn(&OwnerMemory) -> u64| memory.iter().map(of).fold(0, u64::wrapping_add);
        let numbered = sum(|cpu| cpu.numbered);
        if numbered != self.numbered || self.has_changed {
            self.look_for_owners()?;
            (self.numbered, self.has_changed) = (numbered, false);
        }
        let mut rows = Vec::with_capacity(self.known.len() + 2);
        let mut unknown = self.row(OWNER_UNKNOWN)?;
        let other = self.row(OWNER_OTHER)?;
        for (number, kind, sums) in
            [(OWNER_UNKNOWN, OwnerKind::Unknown, unknown), (OWNER_OTHER, OwnerKind::Other, other)]
        {
            rows.push(RowReading {
                id: number.into(),
                kind: Arc::new(kind),
                counts: sums.counts,
                live: sums.live,
                likely: None,
                has_ended: false,
            });
        }
        let now = Instant::now();
        let numbers: Vec<u32> = self.known.keys().copied().collect();
        for number in numbers {
            let sums = self.row(number)?;
            let Some(known) = self.known.get_mut(&number) else { continue };
            let live = known.live(&sums);
            known.idle = (live[LIVE_REFERENCES] == 0).then(|| known.idle.unwrap_or(now));
            // A process that has ended stays ended.
            known.has_ended =
                known.idle.is_some() && (known.has_ended || self.hook.has_ended(&known.key));
            let has_ended = known.has_ended;
            let kind = Arc::clone(&known.kind);
            let likely = known.holder.likely();
            let (id, counts) = (known.id, sums.counts);
            rows.push(RowReading { id, kind, counts, live, likely, has_ended });
        }
        for _ in 0..UNKNOWN_READINGS {
            unknown.counts = unknown.counts.min(&self.row(OWNER_UNKNOWN)?.counts);
        }
        if let Some(row) = rows.first_mut() {
            row.counts = unknown.counts;
        }
        Ok(OwnerReading {
            by: self.hook.by.clone(),
            rows,
            gone: self.gone,
            accepted: sum(|cpu| cpu.accepted),
            waiting: u64::try_from(unknown.live[LIVE_WAITING]).unwrap_or(0),
            without_room: sum(|cpu| cpu.without_room),
            untracked: sum(|cpu| cpu.untracked) + sum(|cpu| cpu.broken),
        })
    }

    /// If more than half of the numbers are in use, gives back the numbers of owners that have
    /// gone. The function `wait` returns after all running programs have ended.
    ///
    /// A program that is under way may have found the number of an owner just before its key was
    /// removed. After all such programs have ended, the row of the owner shows the reference.
    pub(super) fn recycle(
        &mut self,
        mut wait: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.known.len() < self.hook.max_owners as usize / 2 {
            return Ok(());
        }
        let mut removed = Vec::new();
        for number in self.candidates() {
            let Some(known) = self.known.get(&number) else { continue };
            if known.is_replaced || self.hook.numbers.remove(&known.key).is_ok() {
                removed.push(number);
            }
        }
        if removed.is_empty() {
            return Ok(());
        }
        // After this change, no program uses a number that it found before.
        self.generation += 1;
        self.hook
            .generation
            .set(0, self.generation, 0)
            .map_err(map_error("update", "OWNER_GENERATION"))?;
        wait()?;
        for number in removed {
            let sums = self.row(number)?;
            let Some(known) = self.known.get_mut(&number) else { continue };
            if known.live(&sums)[LIVE_REFERENCES] != 0 {
                known.is_replaced = self.hook.numbers.insert(known.key, number, NOEXIST).is_err();
                continue;
            }
            let key = known.key;
            self.gone.add(&sums.counts);
            self.known.remove(&number);
            self.forget_process(&key);
            self.clear(number)?;
            self.hook.free.push(number, 0).map_err(map_error("update", "FREE_OWNERS"))?;
            self.has_changed = true;
        }
        Ok(())
    }

    /// Returns the numbers of the owners that have no sockets and have gone: processes that have
    /// ended, and other owners that have been idle for a minute.
    fn candidates(&self) -> Vec<u32> {
        let is_gone = |known: &Known| {
            let Some(idle) = known.idle else { return false };
            if self.hook.bits & OWNER_PROCESS == 0 {
                return idle.elapsed() >= IDLE;
            }
            self.hook.has_ended(&known.key)
        };
        let candidates = self.known.iter().filter(|(_, known)| is_gone(known));
        candidates.map(|(&number, _)| number).collect()
    }

    /// Removes the entry of a process, unless another owner is of the same process.
    fn forget_process(&mut self, key: &OwnerKey) {
        let process = process_of(key);
        if self.hook.bits & OWNER_PROCESS != 0
            && !self.known.values().any(|known| process_of(&known.key) == process)
        {
            let _ = self.hook.processes.remove(&process);
        }
    }

    fn clear(&mut self, number: u32) -> Result<(), Error> {
        let cpus = nr_cpus().map_err(|(action, source)| Error::System { action, source })?;
        let empty = PerCpuValues::try_from(vec![OwnerRow::default(); cpus])
            .map_err(|source| Error::System { action: "count the processors", source })?;
        self.hook.rows.set(number, empty, 0).map_err(map_error("update", "OWNER_ROWS"))
    }

    /// Finds the owners that the programs have numbered since the last look.
    fn look_for_owners(&mut self) -> Result<(), Error> {
        let mut found = Vec::new();
        for entry in &self.hook.numbers {
            let (key, number) = entry.map_err(map_error("read", "OWNER_NUMBERS"))?;
            if !self.known.contains_key(&number) {
                found.push((key, number));
            }
        }
        self.values.begin();
        for (key, number) in found {
            self.learn(key, number)?;
        }
        Ok(())
    }

    fn learn(&mut self, key: OwnerKey, number: u32) -> Result<(), Error> {
        let name = self.hook.names.get(&number, 0).map_err(map_error("read", "OWNER_NAMES"))?;
        let values = self.values.of(&self.hook.by, &key, &name);
        let id = self.next_id;
        self.next_id += 1;
        let known = Known {
            id,
            key,
            kind: Arc::new(OwnerKind::Group(values)),
            base: [0; STATE_SLOTS],
            idle: None,
            has_ended: false,
            is_replaced: false,
            holder: Holder::None,
        };
        self.known.insert(number, known);
        Ok(())
    }

    fn row(&self, number: u32) -> Result<Sums, Error> {
        let of_cpus = self.hook.rows.get(&number, 0).map_err(map_error("read", "OWNER_ROWS"))?;
        Ok(Sums::of(of_cpus.iter()))
    }

    fn memory(&self) -> Result<Vec<OwnerMemory>, Error> {
        let of_cpus = self.hook.memory.get(&0, 0).map_err(map_error("read", "OWNER_MEMORY"))?;
        Ok(of_cpus.to_vec())
    }
}

/// `BPF_NOEXIST`
const NOEXIST: u64 = 1;

impl Known {
    fn live(&self, sums: &Sums) -> [i64; STATE_SLOTS] {
        std::array::from_fn(|state| self.base[state] + sums.live[state])
    }
}

impl Sums {
    fn of<'a>(rows: impl Iterator<Item = &'a OwnerRow>) -> Self {
        let (mut counts, mut live) = ([0_u64; Column::ALL.len()], [0_u32; STATE_SLOTS]);
        for row in rows {
            for (sum, count) in counts.iter_mut().zip(row.counts) {
                *sum = sum.wrapping_add(count);
            }
            for (sum, count) in live.iter_mut().zip(row.live) {
                *sum = sum.wrapping_add(count);
            }
        }
        let mut sums = Self::default();
        for (column, count) in Column::ALL.into_iter().zip(counts) {
            // A time-wait socket counts for an unknown owner until its owner is found, and the CPUs
            // are read one after the other. The sum is then below 0 for a moment.
            *sums.counts.get_mut(column) = u64::try_from(count.cast_signed()).unwrap_or(0);
        }
        sums.live = live.map(|count| count.cast_signed().into());
        sums
    }
}

impl OwnerHook {
    /// Returns whether an owner is a process that has ended.
    fn has_ended(&self, key: &OwnerKey) -> bool {
        // A missing entry belongs to a process that did not fit in the map.
        let entry = || self.processes.get(&process_of(key), 0);
        self.bits & OWNER_PROCESS != 0 && entry().map_or(true, |ended| ended != 0)
    }
}

fn process_of(key: &OwnerKey) -> ProcessKey {
    ProcessKey { start: key.start, pid: key.pid, reserved: 0 }
}
