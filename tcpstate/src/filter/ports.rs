//! Sets of ports, such as `80,443,8000-8100`.

use std::{ops::RangeInclusive, str::FromStr};

use super::list;

/// A set of ports: sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// Returns whether the set contains the port.
    #[must_use]
    pub fn contain(&self, port: u16) -> bool {
        let after = self.0.partition_point(|range| *range.start() <= port);
        after > 0 && self.0[after - 1].contains(&port)
    }

    /// Returns the port ranges, lowest range first.
    pub(crate) fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ranges = list::parse(text, range)?;
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Ok(Self(merged))
    }
}

fn range(word: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(port) if is_number => Ok(port),
            Err(_) if is_number => Err("is above 65535, the highest port".to_owned()),
            _ => Err("is not a port: expected a number, or a range such as 8000-8100".to_owned()),
        }
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    match (port(first)?, port(last)?) {
        (first, last) if first <= last => Ok(first..=last),
        _ => Err("ends before it begins".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_merged() {
        let ports: Ports = "8000-8100,443,80,8050-8200,8201,0,65535-65535".parse().expect("ports");
        assert_eq!(ports.ranges(), [0..=0, 80..=80, 443..=443, 8000..=8201, 65535..=65535]);
        for (port, is_in) in
            [(0, true), (1, false), (80, true), (442, false), (8000, true), (8201, true)]
        {
            assert_eq!(ports.contain(port), is_in, "{port}");
        }
        assert!(!ports.contain(8202) && !ports.contain(65534) && ports.contain(65535));
        let all: Ports = "0-65535,7".parse().expect("ports");
        assert_eq!(all.ranges(), [0..=65535]);
    }

    #[test]
    fn invalid_ports_are_refused_with_their_position() {
        for (text, reason) in [
            ("80,http", "at character 4: 'http' is not a port"),
            ("80,+443", "at character 4: '+443' is not a port"),
            ("-5", "at character 1: '-5' is not a port"),
            ("80-", "at character 1: '80-' is not a port"),
            ("1,65536", "at character 3: '65536' is above 65535"),
            ("1,20-10", "at character 3: '20-10' ends before it begins"),
            ("1-2-3", "at character 1: '1-2-3' is not a port"),
        ] {
            let error = text.parse::<Ports>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
