//! Describes the machine and the time of a measurement.

use std::{fs, path::Path, thread};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::rows::Rows;
use crate::process;

/// The last run of a benchmark. The run is stored in `target/bench`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Run {
    pub(super) machine: Machine,
    /// The date and time of the run in UTC.
    pub(super) when: String,
    pub(super) rows: Rows,
}

/// The machine's properties that affect measured figures.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_gib: u64,
}

impl Machine {
    /// Reads the properties of this machine.
    pub(super) fn here() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let of_file = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = of_file(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse().context("memory of the machine")?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            // On some architectures, /proc/cpuinfo has no processor name.
            processor: of_file(&read("/proc/cpuinfo")?, "model name")
                .unwrap_or_else(|| "unknown".to_owned()),
            processors: thread::available_parallelism()?.get(),
            memory_gib: (kib + (1 << 19)) >> 20,
        })
    }
}

impl Run {
    /// Creates a run that contains these rows, the current time, and the properties of this
    /// machine.
    pub(super) fn now(rows: Rows) -> Result<Self> {
        let when = process::read(process::command("date").args(["-u", "+%F %R"]))?;
        Ok(Self { machine: Machine::here()?, when: when.trim().to_owned(), rows })
    }

    /// Stores the run. `docs/BENCHMARKS.md` is written from the stored runs of all benchmarks.
    pub(super) fn keep(&self, folder: &Path, benchmark: &str) -> Result<()> {
        let path = folder.join(benchmark).with_extension("json");
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        fs::write(&path, serde_json::to_string(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    /// Reads the stored run of a benchmark. Returns `None` if no run is stored.
    pub(super) fn kept(folder: &Path, benchmark: &str) -> Result<Option<Self>> {
        let path = folder.join(benchmark).with_extension("json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display())).map(Some)
    }
}
