//! Parses the names of Debian's cloud kernels, and orders the kernels by version.

use std::{cmp::Ordering, collections::BTreeSet, fmt, str::FromStr};

use anyhow::{Context as _, Error, Result};

const FLAVOUR: &str = "-cloud-amd64";
/// The words in package names that distinguish the packages of a kernel. Up to kernel 6.18, the
/// image package contains all files of a kernel. In later kernels, the image package depends on
/// other packages of the list `PARTS`. Some of these packages contain the files that the image
/// package lacks.
const PARTS: &[&str] = &["image", "binary", "modules", "base"];
/// A pattern that matches every package that [`packages`] may return.
pub(crate) const PATTERN: &str = "^linux-(image|binary|modules|base)-[0-9].*-cloud-amd64$";

/// A kernel line: the major and minor version, for example `6.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Line {
    major: u32,
    minor: u32,
}

/// One kernel, with the name that `uname -r` prints: `6.12.117+deb13-cloud-amd64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Abi {
    name: String,
    line: Line,
    /// All numbers in the kernel's name, in order.
    numbers: Vec<u64>,
}

impl FromStr for Line {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().with_context(|| format!("`{text}` is not a line of kernels such as 6.12"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

impl Abi {
    /// Parses the name of a cloud kernel. Returns `None` if the kernel has another flavour, if the
    /// name is from another build of a cloud kernel, or if the name always means the newest kernel.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let version = name.strip_suffix(FLAVOUR)?;
        let numbers: Vec<u64> = version
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().ok())
            .collect::<Option<_>>()?;
        // A name without a patch version, such as `6.12-cloud-amd64`, always means the newest
        // kernel.
        let [major, minor, _, ..] = numbers[..] else { return None };
        let line = Line { major: major.try_into().ok()?, minor: minor.try_into().ok()? };
        let is_release = version.starts_with(&format!("{line}."));
        is_release.then(|| Self { name: name.to_owned(), line, numbers })
    }

    pub(crate) fn line(&self) -> Line {
        self.line
    }

    /// `known` contains names of packages. Returns the names in `known` that belong to this kernel.
    pub(crate) fn packages(&self, known: &BTreeSet<String>) -> Vec<String> {
        let names = PARTS.iter().map(|part| format!("linux-{part}-{}", self.name));
        names.filter(|name| known.contains(name)).collect()
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Ord for Abi {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Abi {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns the kernels whose image package is in `packages`, oldest first.
pub(crate) fn kernels(packages: &BTreeSet<String>) -> BTreeSet<Abi> {
    packages.iter().filter_map(|name| Abi::parse(name.strip_prefix("linux-image-")?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> BTreeSet<String> {
        [
            "linux-image-5.10.0-9-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.12.90+deb12.1-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64-unsigned",
            "linux-image-6.12.118+deb13-cloud-amd64-dbg",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-base-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ]
        .map(str::to_owned)
        .into()
    }

    fn newest(line: &str) -> Option<String> {
        let line: Line = line.parse().expect("a line");
        let kernels = kernels(&packages());
        kernels.iter().rfind(|abi| abi.line() == line).map(ToString::to_string)
    }

    #[test]
    fn newer_is_by_number_and_not_by_letter() {
        assert_eq!(newest("5.10").as_deref(), Some("5.10.0-46-cloud-amd64"));
        assert_eq!(newest("6.1").as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12").as_deref(), Some("6.12.117+deb13-cloud-amd64"));
        assert_eq!(newest("6.13"), None);
    }

    #[test]
    fn the_newest_of_all_is_the_last() {
        let kernels = kernels(&packages());
        assert_eq!(kernels.last().map(|abi| abi.line().to_string()).as_deref(), Some("7.3"));
    }

    #[test]
    fn a_kernel_may_come_in_several_packages() {
        let of = |name| Abi::parse(name).expect("a kernel").packages(&packages());
        assert_eq!(
            of("7.3.4+deb13-cloud-amd64"),
            [
                "linux-image-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64",
                "linux-base-7.3.4+deb13-cloud-amd64"
            ]
        );
        assert_eq!(of("6.1.0-56-cloud-amd64"), ["linux-image-6.1.0-56-cloud-amd64"]);
    }

    #[test]
    fn lines_are_two_numbers() {
        assert_eq!("6.12".parse::<Line>().expect("a line").to_string(), "6.12");
        assert!(["6", "6.12.1", "six.one", ""].iter().all(|text| text.parse::<Line>().is_err()));
        assert!("5.10".parse::<Line>().expect("a line") > "5.9".parse().expect("a line"));
    }
}
