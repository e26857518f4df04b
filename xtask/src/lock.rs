//! Reads and writes `tcpstate/bpf/tcpstate.bpf.lock`, which describes the sources and the tools of
//! the checked-in BPF object.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The content of the lock file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lock {
    /// The SHA-256 of the checked-in BPF object.
    pub(crate) object: String,
    /// The SHA-256 of the empty program that benchmarks compare with.
    pub(crate) empty: String,
    /// The hash that `sources::hash` computes: the SHA-256 over the sources of the object.
    pub(crate) sources: String,
    pub(crate) tools: Tools,
}

/// The versions of the tools that determine the object's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Tools {
    pub(crate) rustc: String,
    pub(crate) llvm: String,
    pub(crate) bpf_linker: String,
    /// The version of cargo. The version of cargo affects the hashes in symbol names.
    pub(crate) cargo: String,
}

impl Lock {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).context("write the lock file as TOML")?;
        let text = format!(
            "# Written by `cargo xtask bpf`, checked by `cargo xtask bpf --check`.\n{text}"
        );
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

impl Tools {
    /// Returns one text for each tool whose version is not equal in `self` and `other`.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = [
            ("rustc", &self.rustc, &other.rustc),
            ("LLVM", &self.llvm, &other.llvm),
            ("bpf-linker", &self.bpf_linker, &other.bpf_linker),
            ("cargo", &self.cargo, &other.cargo),
        ];
        let differing = pairs.iter().filter(|(_, locked, here)| locked != here);
        differing
            .map(|(tool, locked, here)| format!("{tool}: {locked} in the lock, {here} here"))
            .collect()
    }
}

/// Returns the SHA-256 of the bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new().chain_update(bytes))
}

pub(crate) fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string accepts any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Tools {
        Tools {
            rustc: "1.96.0".into(),
            llvm: "22.1.8".into(),
            bpf_linker: "0.13.0".into(),
            cargo: "1.95.0".into(),
        }
    }

    #[test]
    fn lock_reads_back_equal_from_toml() {
        let lock = Lock {
            object: sha256(b""),
            empty: sha256(b"y"),
            sources: sha256(b"x"),
            tools: tools(),
        };
        let text = toml::to_string(&lock).expect("a lock is TOML");
        let read: Lock = toml::from_str(&text).expect("and parses");
        assert_eq!(
            (read.object, read.sources, read.tools),
            (lock.object, lock.sources, lock.tools)
        );
    }

    #[test]
    fn only_tools_that_differ_are_named() {
        assert!(tools().differences(&tools()).is_empty());
        let here = Tools { llvm: "23.1.0".into(), ..tools() };
        assert_eq!(tools().differences(&here), ["LLVM: 22.1.8 in the lock, 23.1.0 here"]);
    }

    #[test]
    fn the_empty_hash_is_the_published_one() {
        assert!(sha256(b"").starts_with("e3b0c44298fc1c14"));
    }
}
