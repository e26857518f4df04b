//! Parses the network stack's counter files: `netstat`, `snmp`, `sockstat`, `sockstat6` and
//! `stat/nf_conntrack`.
//!
//! If the row of names and the row of numbers have different lengths, the module rejects the whole
//! file, because the file may be truncated.

use std::collections::BTreeMap;

/// The values of the counters. The key is the table and the name of a counter, such as `TcpExt TW`.
pub type Pairs = BTreeMap<String, u64>;

/// Calls `visit` with the table, the name and the value of each number of `netstat` or `snmp`.
///
/// The files `netstat` and `snmp` have pairs of rows: `TcpExt: TW TWKilled`, then `TcpExt: 5 0`.
pub fn visit_rows<'a>(
    text: &'a str,
    mut visit: impl FnMut(&'a str, &'a str, u64),
) -> Result<(), String> {
    let mut rows = text.lines();
    while let Some(names) = rows.next() {
        let (table, names) =
            names.split_once(": ").ok_or_else(|| format!("a row of no names: {names:?}"))?;
        let numbers = rows.next().and_then(|row| row.strip_prefix(table)?.strip_prefix(": "));
        let numbers = numbers.ok_or_else(|| format!("no numbers for {table}"))?;
        let (names, numbers) = (names.split_ascii_whitespace(), numbers.split_ascii_whitespace());
        let counts = (names.clone().count(), numbers.clone().count());
        if counts.0 != counts.1 {
            return Err(format!("{} names and {} numbers for {table}", counts.0, counts.1));
        }
        for (name, text) in names.zip(numbers) {
            if let Some(number) = number(table, name, text)? {
                visit(table, name, number);
            }
        }
    }
    Ok(())
}

/// Calls `visit` with the table, the name and the value of each number of `sockstat` or
/// `sockstat6`.
///
/// The files `sockstat` and `sockstat6` have rows like `TCP: inuse 5 orphan 0 tw 3`.
pub fn visit_words<'a>(
    text: &'a str,
    mut visit: impl FnMut(&'a str, &'a str, u64),
) -> Result<(), String> {
    for row in text.lines() {
        let (table, words) =
            row.split_once(": ").ok_or_else(|| format!("a row of no names: {row:?}"))?;
        let mut words = words.split_ascii_whitespace();
        while let Some(name) = words.next() {
            let text = words.next().ok_or_else(|| format!("{table} {name} has no number"))?;
            if let Some(number) = number(table, name, text)? {
                visit(table, name, number);
            }
        }
    }
    Ok(())
}

/// Returns all numbers of `netstat` or `snmp`.
pub fn pairs_of_rows(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    visit_rows(text, |table, name, number| insert(&mut pairs, table, name, number))?;
    some(pairs)
}

/// Returns all numbers of `sockstat` or `sockstat6`.
pub fn pairs_of_words(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    visit_words(text, |table, name, number| insert(&mut pairs, table, name, number))?;
    some(pairs)
}

/// For each counter of `stat/nf_conntrack`, returns the total over all CPUs. The file
/// `stat/nf_conntrack` has a row of names, then a row of hexadecimal numbers for each CPU.
pub fn sums_of_columns(text: &str) -> Result<Pairs, String> {
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

fn insert(pairs: &mut Pairs, table: &str, name: &str, number: u64) {
    pairs.insert(format!("{table} {name}"), number);
}

/// Parses a number. Returns `None` for a negative number, because the kernel writes -1 for a limit
/// that does not exist, and counters are never negative.
fn number(table: &str, name: &str, text: &str) -> Result<Option<u64>, String> {
    match (text.parse(), text.parse::<i64>()) {
        (Ok(number), _) => Ok(Some(number)),
        (Err(_), Ok(_)) => Ok(None),
        _ => Err(format!("{table} {name} is {text:?}, no number")),
    }
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
    fn negative_numbers_are_left_out() {
        let pairs = pairs_of_rows("Tcp: MaxConn ActiveOpens\nTcp: -1 3\n").expect("it makes sense");
        assert_eq!(pairs.into_iter().collect::<Vec<_>>(), [("Tcp ActiveOpens".to_owned(), 3)]);
    }

    #[test]
    fn incomplete_files_are_refused() {
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
