//! Reads the counts of each network namespace from the BPF map, finds the name of the namespace,
//! and reads whether the namespace still exists.

use std::collections::{BTreeMap, HashMap};

use tcpstate_common::abi::NamespaceSlots;

use super::{Flows, Identity, Namespace, Population};
use crate::probe::{Error, Rows, map_error, namespaces::Names};

/// The entries of the BPF map, and the data that tcpstate stores for each entry in user space.
pub(super) struct Namespaces {
    rows: Rows,
    memory: HashMap<Identity, Memory>,
}

#[derive(Default)]
struct Memory {
    /// A copy of each of the two counter buffers, made when the buffer last became inactive.
    buffers: [Flows; 2],
    name: Option<String>,
}

impl Namespaces {
    pub(super) fn new(rows: Rows) -> Self {
        Self { rows, memory: HashMap::new() }
    }

    /// Returns the number of namespaces that the last reading contained.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Returns the number of namespaces in the BPF map now.
    pub(super) fn count(&self) -> Result<usize, Error> {
        Ok(self.slots()?.len())
    }

    /// Reads the inactive buffer of each namespace, and adds the latest copy of the other buffer.
    ///
    /// `names` must have been read before the BPF programs marked namespaces that no longer exist.
    /// An unmarked namespace therefore existed while `names` was read, and `names` maps the
    /// namespace's inode to the correct name.
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

    /// For each namespace, returns the number of sockets that all scans together have counted.
    pub(super) fn bases(&self) -> Result<BTreeMap<Identity, Population>, Error> {
        let base = |(identity, row): (Identity, NamespaceSlots)| {
            (identity, Population { full: row.base, minis: row.base_minis })
        };
        Ok(self.slots()?.into_iter().map(base).collect())
    }

    /// Removes the entries of namespaces that no longer exist and have no sockets. The BPF map then
    /// has space for other namespaces.
    pub(super) fn forget(&mut self, gone: &[Identity]) -> Result<(), Error> {
        for identity in gone {
            self.rows.remove(&identity.0).map_err(map_error("update", "NAMESPACES"))?;
            self.memory.remove(identity);
        }
        Ok(())
    }

    /// Returns all entries of the BPF map, except entries in which the BPF program has not stored
    /// the inode yet.
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
