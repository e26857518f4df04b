//! The counters of the kernel. Each counter has the name that the kernel uses.
//!
//! If the row of names and the row of values of a table do not match, the file is read again. If
//! the rows still do not match, all counters of the file are missing, because counters from a part
//! of a file are not reliable.

use std::{io, path::Path};

use super::{Known, Missing, Paths, recorded::LOOK_THERE, unreadable};
use crate::procfs::{
    self,
    counters::{Pairs, pairs_of_rows, pairs_of_words, sums_of_columns},
};

/// The maximum number of attempts to read a file that cannot be parsed.
const ATTEMPTS: usize = 3;

/// The values of all counters at one time.
#[derive(Clone, Debug)]
pub struct Counters {
    netstat: Known<Pairs>,
    snmp: Known<Pairs>,
    sockstat: Known<Pairs>,
    conntrack: Known<Pairs>,
    /// The name of the recording, if the counters are from a recording.
    recording: Option<String>,
}

/// How much a counter grew between the two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The value in the second reading minus the value in the first reading.
    pub by: u64,
    /// The value of the counter in the second reading.
    pub total: u64,
}

impl Counters {
    /// Reads the counters.
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

    /// Creates the counters from a list of names, such as `TcpExt TW`, and values.
    #[must_use]
    pub fn of(pairs: &[(&str, u64)]) -> Self {
        let pairs: Pairs = pairs.iter().map(|&(name, number)| (name.to_owned(), number)).collect();
        let all = || Ok(pairs.clone());
        Self { netstat: all(), snmp: all(), sockstat: all(), conntrack: all(), recording: None }
    }

    /// Creates the counters of the recording with this name.
    #[must_use]
    pub(super) fn recorded(pairs: &[(&str, u64)], recording: &str) -> Self {
        Self { recording: Some(recording.to_owned()), ..Self::of(pairs) }
    }

    /// Returns the value of the counter that has this name in this table. The tables are `TcpExt`
    /// (file `netstat`), `Tcp` (`snmp`), `TCP` (`sockstat`) and `conntrack` (`stat/nf_conntrack`).
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
                cause: format!("{recording} does not contain the counter {table} {name}"),
                help: LOOK_THERE.into(),
                source: recording.clone(),
            },
            None => Missing {
                cause: format!("this kernel has no counter {table} {name}"),
                help: "Use a kernel that has this counter.".into(),
                source: file(table),
            },
        })
    }
}

/// Returns the path of the file that contains the counters of this table, for text output.
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
    let parse = |text: &str| {
        if text.ends_with('\n') { parse(text) } else { Err("the last line is incomplete".into()) }
    };
    let mut outcome = Err(io::Error::other("not read"));
    for _ in 0..ATTEMPTS {
        outcome = procfs::text(path).and_then(|text| parse(&text).map_err(io::Error::other));
        // If the file cannot be opened, a second attempt does not help.
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::Other) {
            break;
        }
    }
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::Other => Missing {
            cause: format!("cannot parse {}: {error}", path.display()),
            help: "Report it with the file and the output of `uname -r`.".into(),
            source: path.display().to_string(),
        },
        _ => unreadable(path, &error),
    })
}
