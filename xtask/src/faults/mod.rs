//! The faults that `cargo xtask test --faults` seeds into the kernel half. At least one test must
//! detect each seeded fault.
//!
//! A seeded fault replaces one text in one source file. A unit test of this module fails if a
//! source file no longer contains the text that a seeded fault replaces. If this unit test fails,
//! correct the fault's entry in [`table`].

pub(crate) mod lock;
mod paths;
mod table;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::table::FAULTS;

/// A seeded fault of the kernel half.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The wrong behavior that users would see if tcpstate contained the seeded fault.
    pub(crate) why: &'static str,
    /// The path of the source file that the seeded fault changes, relative to the root of the
    /// workspace.
    pub(crate) file: &'static str,
    /// The text in the source file that the seeded fault replaces. The text must occur exactly once
    /// in `file`.
    find: &'static str,
    replace: &'static str,
    /// Parts of names of tests in `tcpstate-tests`. If the fault is seeded, at least one of these
    /// tests must fail.
    pub(crate) red: &'static [&'static str],
}

impl Fault {
    /// Returns the names of the scripted paths whose test fails if the fault is seeded. The list is
    /// empty if the tests of the seeded fault run no scripted paths, or if these tests need all
    /// scripted paths.
    pub(crate) fn paths(&self) -> &'static [&'static str] {
        paths::PATHS.iter().find(|(name, _)| *name == self.name).map_or(&[], |(_, paths)| paths)
    }

    /// Replaces the text of the seeded fault in the source file below `root`. Returns the previous
    /// content of the changed file.
    pub(crate) fn seed(&self, root: &Path) -> Result<String> {
        let path = root.join(self.file);
        let healthy =
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        fs::write(&path, self.faulty(&healthy)?)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(healthy)
    }

    /// Restores the source file that the seeded fault changed.
    pub(crate) fn heal(&self, root: &Path, healthy: &str) -> Result<()> {
        let path = root.join(self.file);
        fs::write(&path, healthy).with_context(|| format!("write {}", path.display()))
    }

    fn faulty(&self, healthy: &str) -> Result<String> {
        match healthy.matches(self.find).count() {
            1 => Ok(healthy.replacen(self.find, self.replace, 1)),
            count => bail!(
                "fault {} no longer applies: its text occurs {count} times in {}, expected once: {}",
                self.name,
                self.file,
                self.find
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_applies_to_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let stale: Vec<String> = FAULTS
            .iter()
            .filter_map(|fault| {
                let healthy =
                    fs::read_to_string(root.join(fault.file)).expect("a fault names a file");
                fault.faulty(&healthy).err().map(|error| error.to_string())
            })
            .collect();
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }

    #[test]
    fn a_text_that_occurs_twice_is_refused() {
        let fault = &FAULTS[0];
        let error = fault.faulty(&fault.find.repeat(2)).expect_err("twice is once too often");
        assert!(
            error.to_string().starts_with("fault listener-left-on-clone no longer applies"),
            "{error}"
        );
    }

    #[test]
    fn paths_belong_to_faults_and_to_the_scripts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let scripts = root.join("tests/src/paths/mod.rs");
        let scripts = fs::read_to_string(scripts).expect("the paths have a table");
        for (name, paths) in paths::PATHS {
            assert!(FAULTS.iter().any(|fault| fault.name == *name), "no fault {name}");
            for path in *paths {
                assert!(scripts.contains(&format!("(\"{path}\", ")), "no path {path}");
            }
        }
    }

    #[test]
    fn every_fault_changes_something_and_names_its_tests() {
        for fault in FAULTS {
            assert_ne!(fault.find, fault.replace, "{}", fault.name);
            assert!(!fault.red.is_empty(), "{}", fault.name);
        }
    }
}
