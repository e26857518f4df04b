//! What the programs in the kernel cost, between readings.

use crate::{
    report::{Cost, Runs},
    source::{ProgramRuns, Reading},
};

/// What each program that is there now did since the origin, and since the interval's start.
pub(super) fn of(reading: &Reading, origin: &Reading, interval_start: &Reading) -> Vec<Cost> {
    let costs = reading.runs.iter().map(|now| Cost {
        program: now.program.clone(),
        total: since(now, origin),
        in_interval: since(now, interval_start),
    });
    costs.collect()
}

/// A program that came since then began at zero.
fn since(now: &ProgramRuns, earlier: &Reading) -> Runs {
    let then = earlier.runs.iter().find(|then| then.program == now.program);
    let (count, time) = then.map_or_else(Default::default, |then| (then.runs, then.time));
    // One that was taken out and came again began anew.
    Runs { count: now.runs.saturating_sub(count), time: now.time.saturating_sub(time) }
}
