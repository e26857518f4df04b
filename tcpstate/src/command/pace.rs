//! The loop of a run: an interval at a time, until it is over: as asked for, by a signal, or
//! because nobody reads any more.

use std::{future::pending, num::NonZeroU64, time::Duration};

use anyhow::Result;
use tokio::{
    signal::unix::SignalKind,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    keys::{Key, Keys},
    output::Output,
    signals::{Signals, listen},
};

/// How often misses are looked for, whatever the interval: one number is asked of the kernel.
const LOOK_FOR_MISSES: Duration = Duration::from_millis(500);

/// When there are reports, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two of them; without one there are none but the last.
    pub(super) interval: Option<Duration>,
    /// From begin to end.
    pub(super) duration: Option<Duration>,
    /// So many at most.
    pub(super) count: Option<NonZeroU64>,
}

/// What is done meanwhile.
pub(super) trait Paced {
    /// An interval is over.
    fn report(&mut self, output: &Output) -> Result<()>;

    /// Half a second is.
    fn look(&mut self) -> Result<()>;
}

impl Pace {
    /// Runs until the end.
    pub(super) async fn run(
        self,
        paced: &mut impl Paced,
        output: &Output,
        signals: &mut Signals,
        keys: &mut Keys,
    ) -> Result<()> {
        /// Of a clock that nobody looks at.
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
                () = signals.next() => return Ok(()),
                () = output.closed() => return Ok(()),
                key = keys.next() => match key {
                    Key::Quit => return Ok(()),
                    Key::Help => {
                        keys.toggle_help();
                        output.redraw();
                    }
                },
                _ = resized.recv() => output.redraw(),
                _ = intervals.tick(), if self.interval.is_some() => {
                    paced.report(output)?;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
                () = &mut over => return Ok(()),
                _ = looks.tick() => paced.look()?,
            }
        }
    }
}
