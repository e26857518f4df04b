//! Settings in force, by the names that `sysctl` gives them.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use super::{Known, Missing, Paths, unreadable};
use crate::procfs::sysctl::{self, KEYS};
pub use crate::procfs::sysctl::{PortSet, Range};

/// Those that are no settings, and change by themselves.
const GAUGES: &[&str] = &["net.netfilter.nf_conntrack_count"];

/// Settings, as the kernel writes them.
#[derive(Clone, Debug, Default)]
pub struct Sysctls(BTreeMap<&'static str, Known<Option<String>>>);

impl Sysctls {
    /// Reads them.
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

    /// As a recording has them; all are missing if it has none.
    #[must_use]
    pub(super) fn recorded(known: &BTreeMap<String, String>, missing: &Missing) -> Self {
        let value = |&key: &&'static str| {
            let value = known.get(key).cloned();
            (key, if known.is_empty() { Err(missing.clone()) } else { Ok(value) })
        };
        Self(KEYS.iter().map(value).collect())
    }

    /// Without a single one it is /proc that is not there.
    fn all_missing(self, paths: &Paths) -> Self {
        let missing = Missing {
            cause: format!("there are no sysctls in {}", paths.sys.display()),
            help: "mount /proc here".into(),
            source: paths.sys.display().to_string(),
        };
        Self(self.0.into_keys().map(|key| (key, Err(missing.clone()))).collect())
    }

    /// These ones, but for those that were others a while ago: what holds for one value may not for the other.
    #[must_use]
    pub fn unless_changed(self, now: &Self) -> Self {
        let compare = |(key, before)| {
            let after = now.0.get(key).cloned().unwrap_or(Ok(None));
            let value = match (before, after) {
                (Ok(before), Ok(after)) if before != after && !GAUGES.contains(&key) => {
                    let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".into());
                    Err(Missing {
                        cause: format!(
                            "{key} was changed meanwhile, from {} to {}",
                            text(before),
                            text(after)
                        ),
                        help: "run it again".into(),
                        source: path(key),
                    })
                }
                (_, after) => after,
            };
            (key, value)
        };
        Self(self.0.into_iter().map(compare).collect())
    }

    /// The setting as it is written, if this kernel and namespace have it.
    pub fn text(&self, key: &str) -> Known<Option<&str>> {
        match self.0.get(key) {
            Some(Ok(value)) => Ok(value.as_deref()),
            Some(Err(missing)) => Err(missing.clone()),
            None => Ok(None),
        }
    }

    /// The setting, if this kernel and namespace have it.
    pub fn find<T: FromStr<Err: Display>>(&self, key: &str) -> Known<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let value = text.parse().map_err(|error| Missing {
            cause: format!("{key} is {text:?}: {error}"),
            help: "report it with the output of `uname -r`".into(),
            source: path(key),
        })?;
        Ok(Some(value))
    }

    /// The setting, which is missing if this kernel or namespace does not have it.
    pub fn get<T: FromStr<Err: Display>>(&self, key: &str) -> Known<T> {
        self.find(key)?.ok_or_else(|| Missing {
            cause: format!("this kernel, or this network namespace, does not show {key}"),
            help: "look from the host: nsenter -t 1 -n tcpstate doctor".into(),
            source: path(key),
        })
    }

    /// With another value; for tests and for asking what would be.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Option<&str>) -> Self {
        self.0.insert(key, Ok(value.map(str::to_owned)));
        self
    }
}

fn cut(key: &str, text: &str) -> Missing {
    Missing {
        cause: format!("{key} is {text:?} without an end of line"),
        help: "report it with the output of `uname -r`".into(),
        source: path(key),
    }
}

/// Where a setting is to be seen.
#[must_use]
pub fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_there_or_not_or_no_number() {
        let sysctls = Sysctls::default()
            .with("net.ipv4.tcp_tw_reuse", Some("2"))
            .with("net.ipv4.tcp_fin_timeout", Some("sixty"));
        assert_eq!(sysctls.get("net.ipv4.tcp_tw_reuse"), Ok(2_u64));
        assert_eq!(sysctls.find::<u64>("net.ipv4.tcp_tw_recycle"), Ok(None));
        let missing = sysctls.get::<u64>("net.ipv4.tcp_tw_recycle").expect_err("it is not there");
        assert!(missing.help.contains("nsenter"), "{missing:?}");
        let wrong = sysctls.get::<u64>("net.ipv4.tcp_fin_timeout").expect_err("it is no number");
        assert!(wrong.cause.starts_with("net.ipv4.tcp_fin_timeout is \"sixty\""), "{wrong:?}");
    }

    #[test]
    fn a_setting_that_changes_is_not_relied_on() {
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
    fn without_proc_all_are_missing() {
        let paths = Paths { sys: "/nonexistent".into(), ..Paths::default() };
        let missing = Sysctls::read(&paths).text("net.ipv4.tcp_tw_recycle").expect_err("no /proc");
        assert_eq!(missing.help, "mount /proc here");
    }
}
