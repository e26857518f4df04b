//! Where and when something was measured.

use std::{fs, path::Path, thread};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::rows::Rows;
use crate::process;

/// A benchmark's last run, as `target/bench` keeps it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Run {
    pub(super) machine: Machine,
    /// Date and time, UTC.
    pub(super) when: String,
    pub(super) rows: Rows,
}

/// What figures depend on.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_gib: u64,
}

impl Machine {
    /// This one.
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
            // Not every architecture has names.
            processor: of_file(&read("/proc/cpuinfo")?, "model name")
                .unwrap_or_else(|| "unknown".to_owned()),
            processors: thread::available_parallelism()?.get(),
            memory_gib: (kib + (1 << 19)) >> 20,
        })
    }
}

impl Run {
    /// Of these rows, now.
    pub(super) fn now(rows: Rows) -> Result<Self> {
        let when = process::read(process::command("date").args(["-u", "+%F %R"]))?;
        Ok(Self { machine: Machine::here()?, when: when.trim().to_owned(), rows })
    }

    /// For the document, which is written of all runs.
    pub(super) fn keep(&self, folder: &Path, benchmark: &str) -> Result<()> {
        let path = folder.join(benchmark).with_extension("json");
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        fs::write(&path, serde_json::to_string(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    /// The last one of a benchmark, if there is one.
    pub(super) fn kept(folder: &Path, benchmark: &str) -> Result<Option<Self>> {
        let path = folder.join(benchmark).with_extension("json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display())).map(Some)
    }
}
