//! The flags of groups: the keys, the order and the number of groups.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use clap::{Args, value_parser};
use tcpstate_common::State;

use super::{
    by,
    help::{ADVANCED, OUTPUT},
};
use crate::{
    error::Help,
    filter::NoKey,
    nearest::nearest,
    probe::{MAX_OWNERS, OwnerOptions},
    report::{Column, Key, Owners},
    view::{GroupOrder, SortBy},
};

/// The flags of `trace` for groups.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Group by process, remote,remote-port or other keys
    ///
    /// Count by owner: by process, comm, user, cgroup, unit, container, netns, local-port, remote
    /// or remote-port. Several keys, joined by commas, are one group. A TIME_WAIT counts for the
    /// process that closed its connection.
    #[arg(long, value_name = "KEYS", conflicts_with = "matrix", value_parser = |text: &str| by::parse(text, &KEYS))]
    by: Option<by::Keys>,

    #[command(flatten)]
    order: OrderFlags,

    /// Maximum number of owners
    ///
    /// Maximum number of owners to count. The sockets of other owners are counted as `other`. An
    /// owner that has ended gives its place back.
    #[arg(long, value_name = "N", requires = "by", default_value_t = MAX_OWNERS, value_parser = value_parser!(u32).range(1..=1_048_576), help_heading = ADVANCED)]
    max_owners: u32,
}

/// The flags of a command that shows groups.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct OrderFlags {
    /// Number of groups to show [default: 20]
    ///
    /// Number of groups to show, or 0 to show all groups. The default is 20. The groups that are
    /// not shown are summed as `other`.
    #[arg(long, value_name = "N", help_heading = OUTPUT)]
    top: Option<usize>,

    /// Column to sort groups by [default: time-wait-entries]
    ///
    /// Column to sort groups by, largest first. These columns are sorted by their number per
    /// second: opened, connected, accepted, closed-first, closed-second, time-wait-entries, failed
    /// and reset. A state such as time-wait or established is sorted by its number of sockets.
    #[arg(long, value_name = "COLUMN", value_parser = parse_column, help_heading = OUTPUT)]
    sort: Option<SortBy>,
}

/// The errors of the flags of groups.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// `--by` was given with lines and without snapshots.
    #[error("cannot use --by with {0}: groups are part of snapshots, which need --interval")]
    NoSnapshots(&'static str),
    /// A flag for groups was given without groups.
    #[error("cannot use {0}: there are no groups without --by")]
    NoGroups(&'static str),
    /// A filter concerns a property by which sockets are not grouped.
    #[error("cannot use {flag} with --by {by}: these groups have no value for it")]
    NoKey {
        /// The flag of the filter.
        flag: &'static str,
        /// The keys of the groups.
        by: String,
        /// The key that has the property.
        key: Option<Key>,
    },
    /// A recording has groups by other keys than the requested keys.
    #[error("cannot show groups by {wanted} of the recording {}: {}", file.display(), has(recorded))]
    OtherKeys {
        /// The requested keys.
        wanted: String,
        /// The keys of the recording, or an empty text if the recording has no groups.
        recorded: String,
        /// The recording.
        file: PathBuf,
    },
}

fn has(recorded: &str) -> String {
    match recorded {
        "" => "it has no groups".to_owned(),
        keys => format!("its groups are by {keys}"),
    }
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::NoSnapshots(_) => "add --interval".into(),
            Self::NoGroups(_) => "add --by, for example --by process".into(),
            Self::NoKey { by, key: Some(key), .. } => {
                format!("add the key: --by {by},{}", key.name()).into()
            }
            Self::NoKey { key: None, .. } => {
                "use --events without --interval, which filters events".into()
            }
            Self::OtherKeys { recorded, .. } if recorded.is_empty() => {
                "leave out --by, or record again with --by".into()
            }
            Self::OtherKeys { recorded, .. } => {
                format!("leave out --by, or use --by {recorded}").into()
            }
        }
    }
}

impl Flags {
    /// Returns the keys of the groups. The list is empty if sockets are not grouped.
    pub(super) fn keys(&self) -> &[Key] {
        self.by.as_ref().map_or(&[], |keys| &keys.0)
    }

    /// Returns the options of counting by owner. `by` has the keys of the groups.
    pub(super) fn options(&self, by: &[Key]) -> Option<OwnerOptions> {
        (!by.is_empty())
            .then(|| OwnerOptions { max_owners: self.max_owners, ..OwnerOptions::by(by.to_vec()) })
    }

    /// Returns the order in which groups are shown.
    pub(super) fn order(&self) -> GroupOrder {
        self.order.order()
    }

    /// Returns the error for a filter that concerns none of the keys.
    pub(super) fn no_key(&self, NoKey { flag, key }: NoKey) -> Error {
        Error::NoKey { flag, by: names(self.keys()), key }
    }

    /// Refuses flags that have no effect in a run. `lines` is the flag that asks for lines.
    pub(super) fn require_snapshots(
        &self,
        has_snapshots: bool,
        lines: &'static str,
    ) -> Result<(), Error> {
        match (&self.by, self.order.given()) {
            (None, Some(flag)) => Err(Error::NoGroups(flag)),
            (Some(_), _) if !has_snapshots => Err(Error::NoSnapshots(lines)),
            _ => Ok(()),
        }
    }

    /// Refuses `--by` with other keys than the keys of a recording.
    pub(super) fn require_recorded(&self, file: &Path, recorded: &[Key]) -> Result<(), Error> {
        match &self.by {
            Some(keys) if keys.0 != recorded => Err(Error::OtherKeys {
                wanted: names(&keys.0),
                recorded: names(recorded),
                file: file.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Reports on stderr how many sockets were counted as `other` because the table of owners was
    /// full.
    pub(super) fn warn(&self, end: Option<&Owners>) {
        let without_room = end.map_or(0, |owners| owners.without_room);
        if without_room > 0 {
            eprintln!(
                "tcpstate: {without_room} sockets are counted as other: their owners did not fit into the table"
            );
            eprintln!("help: increase --max-owners from {}", self.max_owners);
        }
    }
}

impl OrderFlags {
    /// Returns the order in which groups are shown.
    pub(super) fn order(self) -> GroupOrder {
        let usual = GroupOrder::default();
        let top = match self.top {
            None => usual.top,
            Some(0) => None,
            Some(top) => Some(top),
        };
        GroupOrder { top, sort: self.sort.unwrap_or(usual.sort) }
    }

    /// Returns the name of the first given flag.
    fn given(self) -> Option<&'static str> {
        let flags = [(self.top.is_some(), "--top"), (self.sort.is_some(), "--sort")];
        flags.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }
}

/// The keys of `trace` and `serve`. The states of a group are columns, so `state` is no key.
pub(super) const KEYS: [Key; 10] = [
    Key::Process,
    Key::Comm,
    Key::User,
    Key::Cgroup,
    Key::Unit,
    Key::Container,
    Key::Netns,
    Key::LocalPort,
    Key::Remote,
    Key::RemotePort,
];

/// Returns the names of keys as the value of `--by`.
fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(",")
}

/// Returns the columns that are similar to a typed column.
pub(super) fn similar_columns(typed: &str) -> Vec<String> {
    let names: Vec<String> = Column::ALL
        .iter()
        .map(|column| column.label())
        .chain(State::GAUGES.iter().map(|state| state.label()))
        .map(|label| label.replace('_', "-"))
        .collect();
    let near = nearest(typed, names.iter().map(String::as_str));
    near.into_iter().map(str::to_owned).collect()
}

/// Parses a column: the name of a count with hyphens or underscores, or a state in any spelling.
fn parse_column(text: &str) -> Result<SortBy, &'static str> {
    let label = text.replace('-', "_");
    // JSON has the rates in the object `per_second`.
    let label = label.strip_prefix("per_second.").unwrap_or(&label);
    if let Some(column) = Column::ALL.into_iter().find(|column| column.label() == label) {
        return Ok(SortBy::Rate(column));
    }
    let state = text.parse().ok().filter(|state| State::GAUGES.contains(state));
    state.map(SortBy::Sockets).ok_or("expected a column such as opened, failed or close-wait")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_all_keys_but_the_state() {
        let missing: Vec<Key> = Key::ALL.into_iter().filter(|key| !KEYS.contains(key)).collect();
        assert_eq!(missing, [Key::State]);
        for key in KEYS {
            assert_eq!(by::parse(&names(&[key]), &KEYS), Ok(by::Keys(vec![key])));
        }
    }

    #[test]
    fn columns_are_counts_per_second_or_states() {
        for (text, sort) in [
            ("time-wait-entries", SortBy::Rate(Column::TimeWaitEntries)),
            ("closed_first", SortBy::Rate(Column::ClosedFirst)),
            ("per_second.opened", SortBy::Rate(Column::Opened)),
            ("time-wait", SortBy::Sockets(State::TimeWait)),
            ("ESTAB", SortBy::Sockets(State::Established)),
        ] {
            assert_eq!(parse_column(text), Ok(sort), "{text}");
        }
        for text in ["", "close", "pid", "per_second"] {
            assert!(parse_column(text).is_err(), "{text}");
        }
    }

    #[test]
    fn top_0_shows_all_groups() {
        let order = |top| OrderFlags { top, sort: None }.order();
        assert_eq!(order(None), GroupOrder::default());
        assert_eq!((order(Some(0)).top, order(Some(3)).top), (None, Some(3)));
    }
}
