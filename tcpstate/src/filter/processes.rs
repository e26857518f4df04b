//! Lists of numbers and names, for processes and users.

use std::str::FromStr;

use tcpstate_common::{abi::COMM_BYTES, filter::FILTER_ITEMS};

use super::list;

/// A list of numbers. The maximum length is the number of items that the BPF programs can check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(Vec<u32>);

impl Numbers {
    pub(super) fn contain(&self, number: u32) -> bool {
        self.0.contains(&number)
    }

    pub(super) fn items(&self) -> &[u32] {
        &self.0
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |word: &str| {
            word.parse().map_err(|_| "is not a number from 0 to 4294967295".to_owned())
        };
        few(list::parse(text, number)?).map(Self)
    }
}

/// A list of process names. The maximum length is the number of items that the BPF programs can
/// check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<[u8; COMM_BYTES]>);

impl Names {
    pub(super) fn contain(&self, wanted: &str) -> bool {
        name(wanted).is_ok_and(|wanted| self.0.contains(&wanted))
    }

    pub(super) fn items(&self) -> &[[u8; COMM_BYTES]] {
        &self.0
    }
}

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        few(list::parse(text, name)?).map(Self)
    }
}

fn name(word: &str) -> Result<[u8; COMM_BYTES], String> {
    // The kernel stores a zero byte after the process name.
    const LONGEST: usize = COMM_BYTES - 1;
    let mut name = [0; COMM_BYTES];
    match name.get_mut(..word.len()) {
        Some(begin) if word.len() <= LONGEST => begin.copy_from_slice(word.as_bytes()),
        _ => {
            return Err(format!("is too long: the kernel cuts names to {LONGEST} bytes"));
        }
    }
    Ok(name)
}

fn few<T>(items: Vec<T>) -> Result<Vec<T>, String> {
    if items.len() <= FILTER_ITEMS {
        return Ok(items);
    }
    Err(format!("has {} items: at most {FILTER_ITEMS} can be looked for at a time", items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_as_the_kernel_has_them() {
        let names: Names = "curl,exactly 15 long".parse().expect("names");
        assert_eq!(names.items(), [*b"curl\0\0\0\0\0\0\0\0\0\0\0\0", *b"exactly 15 long\0"]);
        let numbers: Numbers = "0,4294967295".parse().expect("numbers");
        assert_eq!(numbers.items(), [0, u32::MAX]);
    }

    #[test]
    fn invalid_names_and_numbers_are_refused_with_their_position() {
        for (text, reason) in [
            ("curl,sixteen-letters-", "at character 6: 'sixteen-letters-' is too long"),
            ("curl,", "at character 6: an item is missing"),
        ] {
            let error = text.parse::<Names>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        for (text, reason) in [
            ("1,nginx", "at character 3: 'nginx' is not a number"),
            ("-1", "at character 1: '-1' is not a number"),
        ] {
            let error = text.parse::<Numbers>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        let many = vec!["1"; FILTER_ITEMS + 1].join(",");
        let error = many.parse::<Numbers>().expect_err("too many");
        assert!(error.starts_with("has 17 items: at most 16"), "{error}");
    }
}
