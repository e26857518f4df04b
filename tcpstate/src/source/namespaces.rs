//! Reads the kernel half's row of each network namespace: its counts, its name, and whether it is
//! gone.

use std::collections::{BTreeMap, HashMap};

use tcpstate_common::abi::NamespaceSlots;

use super::{Flows, Identity, Namespace, Population};
use crate::probe::{Error, Rows, map_error, namespaces::Names};

/// The rows, and the state that user space stores for each row.
pub(super) struct Namespaces {
    rows: Rows,
    memory: HashMap<Identity, Memory>,
}

#[derive(Default)]
struct Memory {
    /// The latest copy of each buffer, read while the buffer was inactive.
    buffers: [Flows; 2],
    name: Option<String>,
}

impl Namespaces {
    pub(super) fn new(rows: Rows) -> Self {
        Self { rows, memory: HashMap::new() }
    }

    /// Returns the number of rows at the last reading.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Returns the number of rows now.
    pub(super) fn count(&self) -> Result<usize, Error> {
        Ok(self.slots()?.len())
    }

    /// Makes a cut: reads the inactive buffer and adds the latest copy of the other buffer.
    ///
    /// `names` must have been read before the kernel half marked namespaces that are gone. Then a
    /// namespace that is not gone had its inode, and so its name, the whole time.
    pub(super) fn read(
        &mut self,
        inactive: usize,
        names: &Names,
    ) -> Result<BTreeMap<Identity, Namespace>, Error> {
        let mut cut = BTreeMap::new();
        for (identity, row) in self.slots()? {
            let memory = self.memory.entry(identity).or_default();
            memory.buffers[inactive] = Flows::from(&row.buffers[inactive]);
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

    /// Returns the sums of all scans.
    pub(super) fn bases(&self) -> Result<BTreeMap<Identity, Population>, Error> {
        let base = |(identity, row): (Identity, NamespaceSlots)| {
            (identity, Population { full: row.base, minis: row.base_minis })
        };
        Ok(self.slots()?.into_iter().map(base).collect())
    }

    /// Removes the rows of namespaces that are gone and empty, to make room for other namespaces.
    pub(super) fn forget(&mut self, gone: &[Identity]) -> Result<(), Error> {
        for identity in gone {
            self.rows.remove(&identity.0).map_err(map_error("update", "NAMESPACES"))?;
            self.memory.remove(identity);
        }
        Ok(())
    }

    /// Returns all rows, except rows whose insertion is not complete.
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
