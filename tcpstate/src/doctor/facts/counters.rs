//! The kernel's counters, by the names that it gives them.
//!
//! A file whose rows do not fit together is read again, and in the end is missing: half of it is no count.

use std::{collections::BTreeMap, io, path::Path};

use super::{Known, Missing, Places, read_text, recorded::LOOK_THERE, unreadable};

/// Numbers by name: `TcpExt TW`.
type Pairs = BTreeMap<String, u64>;

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
    pub fn read(places: &Places) -> Self {
        let read = |file: &str, parse: fn(&str) -> Result<Pairs, String>| {
            read(&places.net.join(file), parse)
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
                remedy: LOOK_THERE.into(),
                source: recording.clone(),
            },
            None => Missing {
                cause: format!("this kernel has no counter {table} {name}"),
                remedy: "use a kernel that counts it".into(),
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
        outcome = read_text(path).and_then(|text| parse(&text).map_err(io::Error::other));
        // What can't be opened now can't be in a moment either.
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::Other) {
            break;
        }
    }
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::Other => Missing {
            cause: format!("{} does not make sense: {error}", path.display()),
            remedy: "report it with the file and the output of `uname -r`".into(),
            source: path.display().to_string(),
        },
        _ => unreadable(path, &error),
    })
}

/// `TcpExt: TW TWKilled`, and on the next row `TcpExt: 5 0`.
pub(super) fn pairs_of_rows(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    let mut rows = text.lines();
    while let Some(names) = rows.next() {
        let (table, names) =
            names.split_once(": ").ok_or_else(|| format!("a row of no names: {names:?}"))?;
        let numbers = rows.next().and_then(|row| row.strip_prefix(table)?.strip_prefix(": "));
        let numbers = numbers.ok_or_else(|| format!("no numbers for {table}"))?;
        let names: Vec<&str> = names.split_ascii_whitespace().collect();
        let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
        if names.len() != numbers.len() {
            return Err(format!("{} names and {} numbers for {table}", names.len(), numbers.len()));
        }
        for (name, number) in names.into_iter().zip(numbers) {
            insert(&mut pairs, table, name, number)?;
        }
    }
    some(pairs)
}

/// `TCP: inuse 5 orphan 0 tw 3`
pub(super) fn pairs_of_words(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    for row in text.lines() {
        let (table, words) =
            row.split_once(": ").ok_or_else(|| format!("a row of no names: {row:?}"))?;
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        for pair in words.chunks(2) {
            let [name, number] = pair else {
                return Err(format!("{table} {} has no number", pair.join(" ")));
            };
            insert(&mut pairs, table, name, number)?;
        }
    }
    some(pairs)
}

/// A row of names, then a row of hexadecimal numbers for each CPU.
pub(super) fn sums_of_columns(text: &str) -> Result<Pairs, String> {
    let mut rows = text.lines();
    let names: Vec<&str> = rows.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut sums = Pairs::new();
    for row in rows {
        let numbers: Vec<&str> = row.split_ascii_whitespace().collect();
        if names.len() != numbers.len() {
            return Err(format!("{} names and {} numbers for a CPU", names.len(), numbers.len()));
        }
        for (name, number) in names.iter().zip(numbers) {
            let number = u64::from_str_radix(number, 16)
                .map_err(|_| format!("{name} is {number:?}, no number"))?;
            let sum = sums.entry(format!("conntrack {name}")).or_default();
            *sum = number.checked_add(*sum).ok_or_else(|| format!("{name} has too large a sum"))?;
        }
    }
    some(sums)
}

fn some(pairs: Pairs) -> Result<Pairs, String> {
    if pairs.is_empty() { Err("it is empty".into()) } else { Ok(pairs) }
}

fn insert(pairs: &mut Pairs, table: &str, name: &str, number: &str) -> Result<(), String> {
    match (number.parse(), number.parse::<i64>()) {
        (Ok(number), _) => {
            pairs.insert(format!("{table} {name}"), number);
        }
        // Limits that do not exist are -1; no counter is below zero.
        (Err(_), Ok(_)) => {}
        _ => return Err(format!("{table} {name} is {number:?}, no number")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_table_and_name() {
        let text = "TcpExt: TW TWKilled\nTcpExt: 5 7\nIpExt: TW\nIpExt: 9\n";
        let pairs = pairs_of_rows(text).expect("it makes sense");
        assert_eq!((pairs["TcpExt TW"], pairs["TcpExt TWKilled"], pairs["IpExt TW"]), (5, 7, 9));
        let text = "sockets: used 9\nTCP: inuse 5 orphan 1 tw 3 alloc 7 mem 2\nUDP: inuse 2\n";
        let pairs = pairs_of_words(text).expect("it makes sense");
        assert_eq!((pairs["TCP tw"], pairs["TCP orphan"]), (3, 1));
        let text = "entries drop\n00000010 00000001\n00000010 0000000a\n";
        assert_eq!(sums_of_columns(text).expect("it makes sense")["conntrack drop"], 11);
    }

    #[test]
    fn a_limit_that_does_not_exist_is_no_counter() {
        let pairs = pairs_of_rows("Tcp: MaxConn ActiveOpens\nTcp: -1 3\n").expect("it makes sense");
        assert_eq!(pairs.into_iter().collect::<Vec<_>>(), [("Tcp ActiveOpens".to_owned(), 3)]);
    }

    #[test]
    fn half_a_file_is_none() {
        for (text, reason) in [
            ("\n", "a row of no names"),
            ("TcpExt: TW TWKilled\n", "no numbers for TcpExt"),
            ("TcpExt: TW TWKilled\nTcpExt: 5\n", "2 names and 1 numbers for TcpExt"),
            ("TcpExt: TW\nIpExt: 5\n", "no numbers for TcpExt"),
            ("TcpExt: TW\nTcpExt: 5x\n", "TcpExt TW is \"5x\", no number"),
            ("garbage\n", "a row of no names"),
        ] {
            let error = pairs_of_rows(text).expect_err(text);
            assert!(error.starts_with(reason), "{text:?}: {error}");
        }
        assert!(pairs_of_words("TCP: inuse 5 orphan\n").expect_err("cut").contains("orphan"));
        assert!(sums_of_columns("a b\n00000001\n").is_err());
        assert!(sums_of_columns("a\nffffffffffffffff\n1\n").is_err());
    }
}
