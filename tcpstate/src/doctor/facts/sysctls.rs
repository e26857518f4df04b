//! The current values of the sysctls. Each sysctl has the name that the tool `sysctl` uses.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use super::{Known, Missing, Paths, unreadable};
use crate::procfs::sysctl::{self, KEYS};
pub use crate::procfs::sysctl::{PortSet, Range};

/// Files in /proc/sys that are not settings: the kernel itself changes the values in these files.
const GAUGES: &[&str] = &["net.netfilter.nf_conntrack_count"];

/// The values of sysctls as text.
#[derive(Clone, Debug, Default)]
pub struct Sysctls(BTreeMap<&'static str, Known<Option<String>>>);

impl Sysctls {
    /// Reads the sysctls.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let read = |&key: &&'static str| {
            let value = sysctl::read(&paths.sys, key).map_err(|error| match error {
                sysctl::Error::Cut(text) => cut(key, &text),
                sysctl::Error::Unreadable(path, error) => unreadable(&path, &error),
            });
            (key, value)
        };
        let sysctls = Self(KEYS.iter().map(read).collect());
        if sysctls.0.values().all(|value| *value == Ok(None)) {
            return sysctls.all_missing(paths);
        }
        sysctls
    }

    /// Returns the sysctls of a recording. If the recording contains no sysctls, all sysctls are
    /// [`Missing`].
    #[must_use]
    pub(super) fn recorded(known: &BTreeMap<String, String>, missing: &Missing) -> Self {
        let value = |&key: &&'static str| {
            let value = known.get(key).cloned();
            (key, if known.is_empty() { Err(missing.clone()) } else { Ok(value) })
        };
        Self(KEYS.iter().map(value).collect())
    }

    /// Returns the result for a system where /proc is not mounted: every sysctl is missing.
    fn all_missing(self, paths: &Paths) -> Self {
        let missing = Missing {
            cause: format!("{} contains no sysctls", paths.sys.display()),
            help: "Mount /proc here.".into(),
            source: paths.sys.display().to_string(),
        };
        Self(self.0.into_keys().map(|key| (key, Err(missing.clone()))).collect())
    }

    /// Returns the sysctls of the second reading (`now`). A sysctl that changed between the two
    /// readings is missing, because the counters then grew under two different values.
    #[must_use]
    pub fn unless_changed(self, now: &Self) -> Self {
        let compare = |(key, before)| {
            let after = now.0.get(key).cloned().unwrap_or(Ok(None));
            let value = match (before, after) {
                (Ok(before), Ok(after)) if before != after && !GAUGES.contains(&key) => {
                    let text = |value: Option<String>| value.unwrap_or_else(|| "no value".into());
                    Err(Missing {
                        cause: format!(
                            "{key} changed during this check from {} to {}",
                            text(before),
                            text(after)
                        ),
                        help: "Run doctor again.".into(),
                        source: path(key),
                    })
                }
                (_, after) => after,
            };
            (key, value)
        };
        Self(self.0.into_iter().map(compare).collect())
    }

    /// Returns the value as text, or `None` if this kernel or namespace does not have the sysctl.
    pub fn text(&self, key: &str) -> Known<Option<&str>> {
        match self.0.get(key) {
            Some(Ok(value)) => Ok(value.as_deref()),
            Some(Err(missing)) => Err(missing.clone()),
            None => Ok(None),
        }
    }

    /// Returns the parsed value, or `None` if this kernel or namespace does not have the sysctl.
    pub fn find<T: FromStr<Err: Display>>(&self, key: &str) -> Known<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let value = text.parse().map_err(|error| Missing {
            cause: format!("{key} is {text:?}: {error}"),
            help: "Report it with the output of `uname -r`.".into(),
            source: path(key),
        })?;
        Ok(Some(value))
    }

    /// Returns the parsed value, or [`Missing`] if this kernel or namespace does not have the
    /// sysctl.
    pub fn get<T: FromStr<Err: Display>>(&self, key: &str) -> Known<T> {
        self.find(key)?.ok_or_else(|| Missing {
            cause: format!("this kernel or this network namespace does not have {key}"),
            help: "Run doctor on the host: nsenter -t 1 -n tcpstate doctor".into(),
            source: path(key),
        })
    }

    /// Sets the value of a sysctl, or removes the sysctl.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Option<&str>) -> Self {
        self.0.insert(key, Ok(value.map(str::to_owned)));
        self
    }
}

fn cut(key: &str, text: &str) -> Missing {
    Missing {
        cause: format!("{key} is {text:?} without an end of line"),
        help: "Report it with the output of `uname -r`.".into(),
        source: path(key),
    }
}

/// Returns the path of a sysctl's file in /proc/sys.
#[must_use]
pub fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_is_a_number_or_missing() {
        let sysctls = Sysctls::default()
            .with("net.ipv4.tcp_tw_reuse", Some("2"))
            .with("net.ipv4.tcp_fin_timeout", Some("sixty"));
        assert_eq!(sysctls.get("net.ipv4.tcp_tw_reuse"), Ok(2_u64));
        assert_eq!(sysctls.find::<u64>("net.ipv4.tcp_tw_recycle"), Ok(None));
        let missing =
            sysctls.get::<u64>("net.ipv4.tcp_tw_recycle").expect_err("the sysctl does not exist");
        assert!(missing.help.contains("nsenter"), "{missing:?}");
        let wrong =
            sysctls.get::<u64>("net.ipv4.tcp_fin_timeout").expect_err("the value is not a number");
        assert!(wrong.cause.starts_with("net.ipv4.tcp_fin_timeout is \"sixty\""), "{wrong:?}");
    }

    #[test]
    fn a_sysctl_that_changes_is_missing() {
        let before = Sysctls::default()
            .with("net.ipv4.tcp_tw_reuse", Some("2"))
            .with("net.netfilter.nf_conntrack_count", Some("5"));
        let after = Sysctls::default()
            .with("net.ipv4.tcp_tw_reuse", Some("1"))
            .with("net.netfilter.nf_conntrack_count", Some("6"));
        let both = before.unless_changed(&after);
        let missing = both.get::<u64>("net.ipv4.tcp_tw_reuse").expect_err("it changed");
        assert!(missing.cause.ends_with("from 2 to 1"), "{missing:?}");
        assert_eq!(both.get("net.netfilter.nf_conntrack_count"), Ok(6_u64));
    }

    #[test]
    fn without_proc_all_sysctls_are_missing() {
        let paths = Paths { sys: "/nonexistent".into(), ..Paths::default() };
        let missing = Sysctls::read(&paths).text("net.ipv4.tcp_tw_recycle").expect_err("no /proc");
        assert_eq!(missing.help, "Mount /proc here.");
    }
}
