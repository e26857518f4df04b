//! Computes the cost of the BPF programs between two readings.

use crate::{
    report::{Cost, Runs},
    source::{ProgramRuns, Reading},
};

/// Returns the cost of each attached program since the reading `origin` and since the reading
/// `interval_start`.
pub(super) fn of(reading: &Reading, origin: &Reading, interval_start: &Reading) -> Vec<Cost> {
    let costs = reading.runs.iter().map(|now| Cost {
        program: now.program.clone(),
        total: since(now, origin),
        in_interval: since(now, interval_start),
    });
    costs.collect()
}

/// Returns how often a program ran since an earlier reading, and for how long in total. If a
/// program was attached after the earlier reading, the number of runs started at 0.
fn since(now: &ProgramRuns, earlier: &Reading) -> Runs {
    let then = earlier.runs.iter().find(|then| then.program == now.program);
    let (count, time) = then.map_or_else(Default::default, |then| (then.runs, then.time));
    // If a program was detached and attached again, the number of runs started again at 0.
    Runs { count: now.runs.saturating_sub(count), time: now.time.saturating_sub(time) }
}
