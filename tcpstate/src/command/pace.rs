//! The main loop of a run. The loop ends after the requested time or number of reports, on a
//! signal, on a key, with the program of the run, or when the reader of stdout closes the pipe.

use std::{future::pending, num::NonZeroU64, time::Duration};

use anyhow::Result;
use tokio::{
    signal::unix::SignalKind,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    keys::{Key, Keys},
    output::Output,
    program::{Ending, Program},
    signals::{Signals, listen},
};

/// The time between two checks for missed events, independent of the interval of reports. A check
/// reads one number from the kernel.
const LOOK_FOR_MISSES: Duration = Duration::from_millis(500);

/// The interval of reports, and the limits of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The time between two reports. `None` means that only the first and the last report are
    /// shown.
    pub(super) interval: Option<Duration>,
    /// The maximum duration of the run.
    pub(super) duration: Option<Duration>,
    /// The maximum number of reports at intervals.
    pub(super) count: Option<NonZeroU64>,
}

/// The functions that the main loop calls during a run.
pub(super) trait Paced {
    /// Reports an interval. The main loop calls this function at the end of each interval.
    fn report(&mut self, output: &Output) -> Result<()>;

    /// Checks for missed events. The main loop calls this function every half second.
    fn look(&mut self) -> Result<()>;
}

impl Pace {
    /// Runs until a limit is reached, or until a signal, a key, a closed pipe or the end of the
    /// program ends the run.
    pub(super) async fn run(
        self,
        paced: &mut impl Paced,
        output: &Output,
        signals: &mut Signals,
        keys: &mut Keys,
        program: &mut Program,
    ) -> Result<Ending> {
        /// The period of the timer if no interval is given. Without an interval, the timer is not
        /// used.
        const NEVER: Duration = Duration::from_secs(3600);
        let begin = Instant::now();
        let mut left = self.count.map_or(u64::MAX, NonZeroU64::get);
        let interval = self.interval.unwrap_or(NEVER);
        let mut intervals = interval_at(begin + interval, interval);
        intervals.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut looks = interval_at(begin + LOOK_FOR_MISSES, LOOK_FOR_MISSES);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = async {
            match self.duration {
                Some(duration) => sleep_until(begin + duration).await,
                None => pending().await,
            }
        };
        tokio::pin!(over);
        let mut resized = listen(SignalKind::window_change())?;
        loop {
            tokio::select! {
                biased;
                () = signals.next() => if !program.takes(signals) {
                    return Ok(Ending::Regular);
                },
                () = output.closed() => return Ok(Ending::ReaderGone),
                () = program.ended() => return Ok(Ending::Regular),
                key = keys.next() => match key {
                    Key::Quit => return Ok(Ending::Regular),
                    Key::Help => {
                        keys.toggle_help();
                        output.redraw();
                    }
                    Key::Resumed => output.redraw(),
                },
                _ = resized.recv() => output.redraw(),
                _ = intervals.tick(), if self.interval.is_some() => {
                    paced.report(output)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(Ending::Regular);
                    }
                }
                () = &mut over => return Ok(Ending::Regular),
                _ = looks.tick() => paced.look()?,
            }
        }
    }
}
