//! Series of counters by owner for exporters. The counters of the kernel half have one row for each
//! combination of keys. This module adds up the rows that have the same value of one key.
//!
//! A row can end: its number is then given to another owner. A series therefore does not show the
//! sum of its rows. It adds up what its rows grew by. If a series ends, its counts move to the
//! series `gone`. So no series falls, and neither does the sum of all series.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tcpstate_common::State;

use super::owners::{rest, states_of};
use crate::{
    report::{Gauge, Key, KeySeries, OwnerCounts, OwnerKind, OwnerSeries, SeriesOf, key::Value},
    source::{OwnerReading, RowReading},
};

/// How long a series must have had no socket and no event before it can end. An exporter shows the
/// last counts of a series during this time.
const IDLE: Duration = Duration::from_secs(60);

/// The number of sockets in each state.
type States = [u64; State::GAUGES.len()];

/// The series of all keys of a run.
#[derive(Clone, Debug)]
pub(super) struct AllSeries {
    /// The largest counts that each row had so far. A count of a row can fall for a moment, because
    /// the owner of a socket may be found later.
    rows: HashMap<u64, OwnerCounts>,
    /// The counts of ended rows that are in a series.
    gone: OwnerCounts,
    /// The number of sockets whose owner found no number.
    without_number: u64,
    keys: Vec<OfKey>,
}

/// The series of one key.
#[derive(Clone, Debug)]
struct OfKey {
    key: Key,
    /// The maximum number of values with a series.
    max: usize,
    own: HashMap<Value, Own>,
    /// The values that have sockets, but no series.
    crowded: HashSet<Value>,
    without_room: u64,
    other: Sums,
    unknown: Sums,
    gone: OwnerCounts,
}

/// The counts of a series or the growth of some rows, and their sockets.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    counts: OwnerCounts,
    states: States,
}

/// The series of one value.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    sums: Sums,
    /// Since when the value has had no socket and no event.
    idle: Option<Instant>,
}

impl Sums {
    fn add(&mut self, counts: &OwnerCounts, states: &States) {
        self.counts.add(counts);
        for (sum, count) in self.states.iter_mut().zip(states) {
            *sum += count;
        }
    }

    fn sockets(&self) -> u64 {
        self.states.iter().sum()
    }

    fn is_idle(&self) -> bool {
        self.sockets() == 0 && self.counts == OwnerCounts::default()
    }
}

impl AllSeries {
    /// Returns series of each key. At most `max` values of a key have series.
    pub(super) fn new(by: &[Key], max: usize) -> Self {
        let keys = by.iter().map(|&key| OfKey::new(key, max)).collect();
        Self { rows: HashMap::new(), gone: OwnerCounts::default(), without_number: 0, keys }
    }

    /// Adds the events since the last reading. `gauges` are the numbers of all sockets in each
    /// state. Without them, the sockets of unknown owners stay as they were.
    pub(super) fn update(
        &mut self,
        reading: &OwnerReading,
        gauges: Option<&[Gauge; State::GAUGES.len()]>,
        now: Instant,
    ) {
        let mut before = std::mem::take(&mut self.rows);
        let mut grown = Vec::with_capacity(reading.rows.len());
        for row in &reading.rows {
            let earlier = before.remove(&row.id).unwrap_or_default();
            let largest = earlier.max(&row.counts);
            self.rows.insert(row.id, largest);
            grown.push((row, largest.since(&earlier)));
        }
        for ended in before.values() {
            self.gone.add(ended);
        }
        let late = reading.gone.since(&self.gone);
        self.gone = self.gone.max(&reading.gone);
        self.without_number = reading.without_room;
        let unknown = gauges.map(|gauges| {
            let known = reading.rows.iter().filter(|row| *row.kind != OwnerKind::Unknown);
            rest(gauges, known.map(states_of))
        });
        for (at, key) in self.keys.iter_mut().enumerate() {
            key.gone.add(&late);
            key.update(at, &grown, now);
            if let Some(unknown) = unknown {
                key.unknown.states = unknown;
            }
        }
    }

    pub(super) fn show(&self) -> Vec<KeySeries> {
        self.keys.iter().map(|key| key.show(self.without_number)).collect()
    }
}

impl OfKey {
    fn new(key: Key, max: usize) -> Self {
        Self {
            key,
            max,
            own: HashMap::new(),
            crowded: HashSet::new(),
            without_room: 0,
            other: Sums::default(),
            unknown: Sums::default(),
            gone: OwnerCounts::default(),
        }
    }

    /// Adds the growth of rows. The key has the index `at` in the values of a row.
    fn update(&mut self, at: usize, rows: &[(&RowReading, OwnerCounts)], now: Instant) {
        let mut values: HashMap<&Value, Sums> = HashMap::new();
        self.other.states = States::default();
        for (row, grown) in rows {
            match &*row.kind {
                OwnerKind::Group(of_keys) => {
                    if let Some(value) = of_keys.get(at) {
                        values.entry(value).or_default().add(grown, &states_of(row));
                    }
                }
                OwnerKind::Unknown => self.unknown.counts.add(grown),
                OwnerKind::Other => self.other.add(grown, &states_of(row)),
                OwnerKind::Gone => self.gone.add(grown),
            }
        }
        for (value, own) in &mut self.own {
            own.update(values.remove(value).as_ref(), now);
        }
        // Only values with sockets or events need a series. The largest values come first.
        let mut fresh: Vec<(&Value, Sums)> =
            values.into_iter().filter(|(_, growth)| !growth.is_idle()).collect();
        fresh.sort_by_key(|(_, growth)| {
            std::cmp::Reverse(growth.sockets() + growth.counts.opened + growth.counts.accepted)
        });
        self.end_processes(at, rows, now);
        let mut crowded = HashSet::new();
        for (value, growth) in fresh {
            if self.own.len() < self.max || self.make_room(now) {
                let mut own = Own::default();
                own.update(Some(&growth), now);
                self.own.insert(value.clone(), own);
            } else {
                self.other.add(&growth.counts, &growth.states);
                self.without_room += u64::from(!self.crowded.contains(value));
                crowded.insert(value.clone());
            }
        }
        self.crowded = crowded;
    }

    /// Ends the series of processes that have ended and have been idle for [`IDLE`].
    fn end_processes(&mut self, at: usize, rows: &[(&RowReading, OwnerCounts)], now: Instant) {
        if self.key != Key::Process {
            return;
        }
        let mut alive: HashSet<&Value> = HashSet::new();
        for (row, _) in rows.iter().filter(|(row, _)| !row.has_ended) {
            if let OwnerKind::Group(values) = &*row.kind {
                alive.extend(values.get(at));
            }
        }
        let gone = &mut self.gone;
        self.own.retain(|value, own| {
            let is_kept = own.idle_since(now).is_none() || alive.contains(value);
            if !is_kept {
                gone.add(&own.sums.counts);
            }
            is_kept
        });
    }

    /// Ends the series that was idle for the longest time, if it was idle for [`IDLE`]. Returns
    /// whether there is room for another series now.
    fn make_room(&mut self, now: Instant) -> bool {
        let idle = self.own.iter().filter_map(|(value, own)| Some((own.idle_since(now)?, value)));
        let Some(value) = idle.min_by_key(|(since, _)| *since).map(|(_, value)| value.clone())
        else {
            return false;
        };
        if let Some(own) = self.own.remove(&value) {
            self.gone.add(&own.sums.counts);
        }
        true
    }

    fn show(&self, without_number: u64) -> KeySeries {
        let series = |of, sums: &Sums| OwnerSeries { of, states: sums.states, counts: sums.counts };
        let mut all: Vec<OwnerSeries> = self
            .own
            .iter()
            .map(|(value, own)| series(SeriesOf::Value(value.clone()), &own.sums))
            .collect();
        all.push(series(SeriesOf::Other, &self.other));
        all.push(series(SeriesOf::Unknown, &self.unknown));
        all.push(series(SeriesOf::Gone, &Sums { counts: self.gone, ..Sums::default() }));
        KeySeries { key: self.key, series: all, without_room: self.without_room + without_number }
    }
}

impl Own {
    fn update(&mut self, growth: Option<&Sums>, now: Instant) {
        self.sums.states = States::default();
        if let Some(growth) = growth {
            self.sums.add(&growth.counts, &growth.states);
        }
        let is_idle = growth.is_none_or(Sums::is_idle);
        self.idle = is_idle.then(|| self.idle.unwrap_or(now));
    }

    /// Returns since when the series has been idle, if it has been idle for [`IDLE`].
    fn idle_since(&self, now: Instant) -> Option<Instant> {
        self.idle.filter(|&idle| now.saturating_duration_since(idle) >= IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::owners::tests::{gauges, row},
        report::Process,
    };

    fn process(pid: u32) -> Value {
        Value::Process(Process { pid, name: "a".to_owned() })
    }

    /// Returns the row of a process and a port.
    fn both(id: u64, pid: u32, port: u16, opened: u64, established: i64) -> RowReading {
        row(id, OwnerKind::Group(vec![process(pid), Value::Port(port)]), opened, established)
    }

    fn reading(rows: Vec<RowReading>, gone: u64) -> OwnerReading {
        let gone = OwnerCounts { opened: gone, ..OwnerCounts::default() };
        OwnerReading { rows, gone, ..OwnerReading::default() }
    }

    const BY: [Key; 2] = [Key::Process, Key::RemotePort];

    /// Returns `opened` and the sockets of a series, if it exists.
    fn of(all: &AllSeries, key: usize, of: &SeriesOf) -> Option<(u64, u64)> {
        let shown = all.show().swap_remove(key);
        let found = shown.series.into_iter().find(|series| series.of == *of)?;
        Some((found.counts.opened, found.states.iter().sum()))
    }

    fn value(value: Value) -> SeriesOf {
        SeriesOf::Value(value)
    }

    fn opened(all: &AllSeries, key: usize) -> u64 {
        all.show()[key].series.iter().map(|series| series.counts.opened).sum()
    }

    #[test]
    fn rows_are_added_up_by_each_key() {
        let mut all = AllSeries::new(&BY, 9);
        let rows = vec![
            row(0, OwnerKind::Unknown, 1, 0),
            row(1, OwnerKind::Other, 2, 4),
            both(2, 7, 80, 10, 1),
            both(3, 7, 81, 20, 2),
            both(4, 8, 80, 40, 0),
        ];
        all.update(&reading(rows, 0), Some(&gauges(10)), Instant::now());
        assert_eq!(of(&all, 0, &value(process(7))), Some((30, 3)));
        assert_eq!(of(&all, 1, &value(Value::Port(80))), Some((50, 1)));
        for key in [0, 1] {
            assert_eq!(of(&all, key, &SeriesOf::Other), Some((2, 4)));
            assert_eq!(of(&all, key, &SeriesOf::Unknown), Some((1, 3)));
            assert_eq!(opened(&all, key), 73);
        }
    }

    #[test]
    fn counts_never_fall_when_rows_are_given_to_other_owners() {
        let mut all = AllSeries::new(&BY, 9);
        let now = Instant::now();
        all.update(&reading(vec![both(2, 7, 80, 10, 1)], 0), None, now);
        all.update(&reading(vec![both(2, 7, 80, 9, 1)], 0), None, now);
        assert_eq!(opened(&all, 0), 10, "a count that falls is kept");
        // The row had one more event before it was given away.
        all.update(&reading(vec![both(5, 9, 80, 1, 0)], 11), None, now);
        assert_eq!(of(&all, 1, &value(Value::Port(80))), Some((11, 0)));
        assert_eq!(of(&all, 0, &value(process(7))), Some((10, 0)));
        for key in [0, 1] {
            assert_eq!((of(&all, key, &SeriesOf::Gone), opened(&all, key)), (Some((1, 0)), 12));
        }
        // A series of a process without a row ends, and a series of another key stays.
        all.update(&reading(vec![both(5, 9, 80, 1, 1)], 11), None, now + 2 * IDLE);
        assert_eq!(of(&all, 0, &value(process(7))), None);
        assert_eq!((of(&all, 0, &SeriesOf::Gone), opened(&all, 0)), (Some((11, 0)), 12));
        assert_eq!(of(&all, 1, &value(Value::Port(80))), Some((11, 1)));
    }

    #[test]
    fn idle_series_give_their_room_to_others() {
        let mut all = AllSeries::new(&BY, 1);
        let now = Instant::now();
        let rows = |first: u64| vec![both(2, 7, 80, first, 0), both(3, 7, 81, 5, 1)];
        all.update(&reading(rows(9), 0), None, now);
        assert_eq!(of(&all, 1, &value(Value::Port(81))), None, "the first is larger");
        assert_eq!(of(&all, 1, &SeriesOf::Other), Some((5, 1)));
        all.update(&reading(rows(9), 0), None, now + IDLE);
        assert_eq!(all.show()[1].without_room, 1, "a value is counted once");
        all.update(&reading(rows(9), 0), None, now + 2 * IDLE);
        assert_eq!(of(&all, 1, &value(Value::Port(80))), None);
        assert_eq!(of(&all, 1, &value(Value::Port(81))), Some((0, 1)), "its series begins now");
        assert_eq!(of(&all, 1, &SeriesOf::Gone), Some((9, 0)));
        assert_eq!(opened(&all, 1), 14);
        all.update(&reading(rows(10), 0), None, now + 3 * IDLE);
        assert_eq!((all.show()[1].without_room, opened(&all, 1)), (2, 15));
    }
}
