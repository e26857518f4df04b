//! `--bpf-log`: prints the log lines of the BPF programs on stderr.

use std::time::Duration;

use anyhow::{Context as _, Result};
use log::{LevelFilter, Log, Metadata, Record};
use tokio::time::sleep;

use crate::probe::Probe;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("bpf: {}", record.args());
    }

    fn flush(&self) {}
}

/// The time between two reads of the log. A wakeup for each line would slow the BPF programs.
const PACE: Duration = Duration::from_millis(50);

/// Forwards log lines to stderr until the runtime ends.
pub(super) fn forward(probe: &mut Probe) -> Result<()> {
    // An error means that another logger is already set. The other logger then prints the lines.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(LevelFilter::Trace);
    let mut logger = probe.logger().context("cannot read the log of the BPF programs")?;
    tokio::spawn(async move {
        loop {
            sleep(PACE).await;
            logger.flush();
        }
    });
    Ok(())
}
