//! The functions of this module that the fuzzer calls.

use super::{
    counters,
    sysctl::{PortSet, Range},
};

/// Parses `netstat`, `snmp`, `sockstat` and `stat/nf_conntrack`.
pub(crate) fn counters(bytes: &[u8]) {
    let text = &String::from_utf8_lossy(bytes);
    for read in [counters::pairs_of_rows, counters::pairs_of_words, counters::sums_of_columns] {
        match read(text) {
            Ok(pairs) => assert!(!pairs.is_empty(), "a file without a counter is none"),
            Err(why) => assert!(!why.contains('\n'), "{why:?} is more than a line"),
        }
    }
}

/// Parses sysctl values in the format of the kernel.
pub(crate) fn settings(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    if let Ok(Range { low, high }) = text.parse() {
        assert!(low <= high);
    }
    if let Ok(ports) = text.parse::<PortSet>() {
        assert!(
            text.split([',', '-'])
                .filter_map(|port| port.trim().parse().ok())
                .all(|port| ports.contains(port))
        );
    }
}
