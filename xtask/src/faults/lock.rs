//! Reads and writes `xtask/faults.lock`, which lists the detected seeded faults, and a hash for
//! each fault.
//!
//! Each line of the lock file has the name of a seeded fault and the hash of this fault. The hash
//! covers the source file that the seeded fault changes, the change, and the names of the tests
//! that must fail. `cargo xtask test` runs the tests with a seeded fault only if the lock file does
//! not contain the current hash of this fault. A run of all seeded faults (`--all`, or `--faults`
//! without a name) writes the lock file.
//!
//! This machine may be unable to run the tests of a seeded fault. If a fault is skipped and the
//! hash of the fault is unchanged, the entry of the fault stays in the lock file. A skipped fault
//! without an entry in the lock file runs again in each run of the tests, and the report names the
//! cause of the skip.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Fault;
use crate::lock::hexadecimal;

/// The path of the file, relative to the root of the workspace.
pub(crate) const FILE: &str = "xtask/faults.lock";

/// The content of the lock file: the name and the hash of each detected seeded fault.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultLock {
    /// For the name of each detected seeded fault, the hash of this fault. The entries are sorted
    /// by the names of the faults, so a changed hash changes only one line of the file.
    detected: BTreeMap<String, String>,
}

/// The result of the tests for one seeded fault, in a run of all seeded faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Detected,
    /// The tests that must detect the seeded fault cannot run on this machine.
    Skipped,
    /// No test detected the seeded fault, or an error prevented the tests from running.
    Not,
}

impl FaultLock {
    /// Reads the lock file of the workspace at `root`. If the file does not exist, the result has
    /// no entries.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("parse {FILE}"))
    }

    /// Writes the lock file of the workspace at `root`.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let text = toml::to_string(self).context("write the faults as TOML")?;
        let text = format!(
            "# Written by `cargo xtask test --faults`: each seeded fault that a test detected, with a hash of\n\
             # its source file, its change and its tests. `cargo xtask test` runs the faults whose hash differs.\n{text}"
        );
        fs::write(root.join(FILE), text).with_context(|| format!("write {FILE}"))
    }

    /// Whether the lock file has an entry for this fault with this hash.
    pub(crate) fn holds(&self, name: &str, hash: &str) -> bool {
        self.detected.get(name).is_some_and(|known| known == hash)
    }

    /// Returns the entries for the lock file after a run of all seeded faults. A seeded fault that
    /// was removed from the table has no entry in the lock file.
    pub(crate) fn after(&self, run: &[(&str, &str, Found)]) -> Self {
        let is_kept = |name: &str, hash: &str, found: Found| match found {
            Found::Detected => true,
            Found::Skipped => self.holds(name, hash),
            Found::Not => false,
        };
        let kept = run.iter().filter(|(name, hash, found)| is_kept(name, hash, *found));
        let detected = kept.map(|&(name, hash, _)| (name.to_owned(), hash.to_owned())).collect();
        Self { detected }
    }
}

/// Returns the SHA-256 over the fault's source file, the change, and the names of the fault's
/// tests.
pub(crate) fn hash(root: &Path, fault: &Fault) -> Result<String> {
    let source = fs::read(root.join(fault.file)).with_context(|| format!("read {}", fault.file))?;
    Ok(hash_of(&source, fault))
}

fn hash_of(source: &[u8], fault: &Fault) -> String {
    let mut digest = Sha256::new();
    let mut add = |bytes: &[u8]| {
        // Hash the length of each part too. Without the lengths, a change that moves bytes from one
        // part to the next part would not change the hash.
        digest.update(bytes.len().to_le_bytes());
        digest.update(bytes);
    };
    for text in [fault.file, fault.find, fault.replace] {
        add(text.as_bytes());
    }
    for text in fault.red.iter().chain(fault.paths()) {
        add(text.as_bytes());
    }
    add(source);
    hexadecimal(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Fault =
        Fault { name: "a", why: "b", file: "c.rs", find: "d", replace: "e", red: &["f"] };

    fn lock(entries: &[(&str, &str)]) -> FaultLock {
        let entry = |&(name, hash): &(&str, &str)| (name.to_owned(), hash.to_owned());
        FaultLock { detected: entries.iter().map(entry).collect() }
    }

    #[test]
    fn hash_covers_the_source_the_change_and_the_tests() {
        let hash = hash_of(b"source", &FAULT);
        assert_eq!(hash, hash_of(b"source", &Fault { why: "told in other words", ..FAULT }));
        for other in [
            hash_of(b"another source", &FAULT),
            hash_of(b"source", &Fault { file: "g.rs", ..FAULT }),
            hash_of(b"source", &Fault { find: "g", ..FAULT }),
            hash_of(b"source", &Fault { replace: "g", ..FAULT }),
            hash_of(b"source", &Fault { red: &["g"], ..FAULT }),
            hash_of(b"source", &Fault { red: &["f", "g"], ..FAULT }),
            hash_of(b"source", &Fault { find: "de", replace: "", ..FAULT }),
        ] {
            assert_ne!(hash, other);
        }
    }

    #[test]
    fn fault_is_up_to_date_only_with_its_current_hash() {
        let lock = lock(&[("a", "1")]);
        assert!(lock.holds("a", "1"));
        assert!(!lock.holds("a", "2"), "its source has changed");
        assert!(!lock.holds("b", "1"), "it is new");
    }

    #[test]
    fn a_complete_run_replaces_the_entries() {
        let before = lock(&[("changed", "1"), ("gone", "1"), ("missed", "1"), ("skipped", "1")]);
        let run = [
            ("changed", "2", Found::Detected),
            ("missed", "1", Found::Not),
            ("new", "1", Found::Detected),
            ("skipped", "1", Found::Skipped),
        ];
        let after = lock(&[("changed", "2"), ("new", "1"), ("skipped", "1")]);
        assert_eq!(before.after(&run), after);
    }

    #[test]
    fn skipped_fault_keeps_no_old_hash() {
        let before = lock(&[("skipped", "1")]);
        assert_eq!(before.after(&[("skipped", "2", Found::Skipped)]), lock(&[]));
        assert_eq!(lock(&[]).after(&[("skipped", "2", Found::Skipped)]), lock(&[]));
    }

    #[test]
    fn lock_file_is_sorted_and_reads_back_equal() {
        let folder = std::env::temp_dir().join(format!("faults-lock-{}", std::process::id()));
        fs::create_dir_all(folder.join("xtask")).expect("a folder can be made");
        assert_eq!(FaultLock::read(&folder).expect("a missing file is no error"), lock(&[]));
        let written = lock(&[("b", "2"), ("a", "1")]);
        written.write(&folder).expect("it can be written");
        let text = fs::read_to_string(folder.join(FILE)).expect("it can be read");
        assert_eq!(FaultLock::read(&folder).expect("it parses"), written);
        fs::remove_dir_all(&folder).expect("the test owns it");
        assert!(text.ends_with("[detected]\na = \"1\"\nb = \"2\"\n"), "{text}");
    }
}
