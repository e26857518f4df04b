//! The kernel's counters, by the names that it gives them.
//!
//! A file whose rows do not fit together is read again, and in the end is missing: half of it is no count.

use std::{io, path::Path};

use super::{Known, Missing, Paths, recorded::LOOK_THERE, unreadable};
use crate::procfs::{
    self,
    counters::{Pairs, pairs_of_rows, pairs_of_words, sums_of_columns},
};

/// How often a file is read that does not make sense.
const ATTEMPTS: usize = 3;

/// The counters at one moment.
#[derive(Clone, Debug)]
pub struct Counters {
    netstat: Known<Pairs>,
    snmp: Known<Pairs>,
    sockstat: Known<Pairs>,
    conntrack: Known<Pairs>,
    /// The recording that they are from, if they are.
    recording: Option<String>,
}

/// A counter that was read twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// How far it went.
    pub by: u64,
    /// Where it is now.
    pub total: u64,
}

impl Counters {
    /// Reads them.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let read = |file: &str, parse: fn(&str) -> Result<Pairs, String>| {
            read(&paths.net.join(file), parse)
        };
        Self {
            netstat: read("netstat", pairs_of_rows),
            snmp: read("snmp", pairs_of_rows),
            sockstat: read("sockstat", pairs_of_words),
            conntrack: read("stat/nf_conntrack", sums_of_columns),
            recording: None,
        }
    }

    /// Counters of these names, `TcpExt TW`, and no others.
    #[must_use]
    pub fn of(pairs: &[(&str, u64)]) -> Self {
        let pairs: Pairs = pairs.iter().map(|&(name, number)| (name.to_owned(), number)).collect();
        let all = || Ok(pairs.clone());
        Self { netstat: all(), snmp: all(), sockstat: all(), conntrack: all(), recording: None }
    }

    /// Those that a recording of this name tells.
    #[must_use]
    pub(super) fn recorded(pairs: &[(&str, u64)], recording: &str) -> Self {
        Self { recording: Some(recording.to_owned()), ..Self::of(pairs) }
    }

    /// The counter of this name: in `netstat` those of `TcpExt`, in `snmp` of `Tcp`, in `sockstat` of `TCP`, and
    /// those of connection tracking as `conntrack`.
    pub fn get(&self, table: &str, name: &str) -> Known<u64> {
        let pairs = match table {
            "TCP" => &self.sockstat,
            "Tcp" => &self.snmp,
            "conntrack" => &self.conntrack,
            _ => &self.netstat,
        };
        let number = pairs.as_ref().map_err(Clone::clone)?.get(&format!("{table} {name}"));
        number.copied().ok_or_else(|| match &self.recording {
            Some(recording) => Missing {
                cause: format!("{recording} does not tell {table} {name}"),
                help: LOOK_THERE.into(),
                source: recording.clone(),
            },
            None => Missing {
                cause: format!("this kernel has no counter {table} {name}"),
                help: "use a kernel that counts it".into(),
                source: file(table),
            },
        })
    }
}

/// Where a counter is to be seen, for people.
pub(super) fn file(table: &str) -> String {
    let file = match table {
        "TCP" => "sockstat",
        "Tcp" => "snmp",
        "conntrack" => "stat/nf_conntrack",
        _ => "netstat",
    };
    format!("/proc/net/{file}")
}

fn read(path: &Path, parse: fn(&str) -> Result<Pairs, String>) -> Known<Pairs> {
    let parse =
        |text: &str| if text.ends_with('\n') { parse(text) } else { Err("it is cut".into()) };
    let mut outcome = Err(io::Error::other("not read"));
    for _ in 0..ATTEMPTS {
        outcome = procfs::text(path).and_then(|text| parse(&text).map_err(io::Error::other));
        // What can't be opened now can't be in a moment either.
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::Other) {
            break;
        }
    }
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::Other => Missing {
            cause: format!("{} does not make sense: {error}", path.display()),
            help: "report it with the file and the output of `uname -r`".into(),
            source: path.display().to_string(),
        },
        _ => unreadable(path, &error),
    })
}
