//! `--bpf-log`: what the kernel half says while it counts, line by line to stderr.

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

/// How long a line may wait. A pace rather than a wakeup per line, which would slow what it
/// watches.
const PACE: Duration = Duration::from_millis(50);

/// Forwards lines for as long as the runtime lives.
pub(super) fn forward(probe: &mut Probe) -> Result<()> {
    // A logger that is set already serves as well.
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
