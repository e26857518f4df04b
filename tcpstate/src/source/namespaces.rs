//! The kernel half's row for each network namespace: what was counted in it, what it is called, whether it is gone.

use std::collections::{BTreeMap, HashMap};

use tcpstate_common::abi::NamespaceSlots;

use super::{Flows, Identity, Namespace, Population};
use crate::probe::{Error, Rows, map_error, namespaces::Names};

/// The rows, and what user space has to remember of each.
pub(super) struct Namespaces {
    rows: Rows,
    memory: HashMap<Identity, Memory>,
}

#[derive(Default)]
struct Memory {
    /// Each buffer as it was when it last stood still.
    buffers: [Flows; 2],
    name: Option<String>,
}

impl Namespaces {
    pub(super) fn new(rows: Rows) -> Self {
        Self { rows, memory: HashMap::new() }
    }

    /// How many rows there were when they were last read.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    /// How many rows there are now.
    pub(super) fn count(&self) -> Result<usize, Error> {
        Ok(self.slots()?.len())
    }

    /// A cut: the buffer that now stands still is read, the other one is as it last was.
    ///
    /// `names` are from before somebody looked which namespaces are gone: one that is not had its inode, and so its name,
    /// all the time.
    pub(super) fn read(
        &mut self,
        stood: usize,
        names: &Names,
    ) -> Result<BTreeMap<Identity, Namespace>, Error> {
        let mut cut = BTreeMap::new();
        for (identity, row) in self.slots()? {
            let memory = self.memory.entry(identity).or_default();
            memory.buffers[stood] = Flows::from(&row.buffers[stood]);
            let is_gone = row.gone != 0;
            if memory.name.is_none() && !is_gone {
                memory.name = names.of(row.inode);
            }
            let [first, second] = memory.buffers;
            let (inode, name) = (row.inode, memory.name.clone());
            cut.insert(identity, Namespace { inode, name, is_gone, flows: first + second });
        }
        Ok(cut)
    }

    /// What scans found, all together.
    pub(super) fn bases(&self) -> Result<BTreeMap<Identity, Population>, Error> {
        let base = |(identity, row): (Identity, NamespaceSlots)| {
            (identity, Population { full: row.base, minis: row.base_minis })
        };
        Ok(self.slots()?.into_iter().map(base).collect())
    }

    /// Takes out the rows of namespaces that are gone and empty, so that there is room for others.
    pub(super) fn forget(&mut self, gone: &[Identity]) -> Result<(), Error> {
        for identity in gone {
            self.rows.remove(&identity.0).map_err(map_error("update", "NAMESPACES"))?;
            self.memory.remove(identity);
        }
        Ok(())
    }

    /// All rows but those that are only being made.
    fn slots(&self) -> Result<Vec<(Identity, NamespaceSlots)>, Error> {
        let mut slots = Vec::new();
        for row in &self.rows {
            let (identity, row) = row.map_err(map_error("read", "NAMESPACES"))?;
            if row.inode != 0 {
                slots.push((Identity(identity), row));
            }
        }
        Ok(slots)
    }
}
