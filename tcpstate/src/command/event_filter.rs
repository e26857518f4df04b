//! The flags that select events in `trace` and durations in `hist`. The flags for events include
//! the flags that select sockets. The conditions of all flags are combined with AND.

use std::{borrow::Cow, str::FromStr, time::Duration};

use clap::Args;
use tcpstate_common::filter::FILTER_ITEMS;

use super::{duration, family, filter, help::FILTERS};
use crate::{
    error::Help,
    filter::{EventFilter, Moves, Names, Numbers, TooManyNetworks},
    procfs::pids::PidNamespace,
    source::cgroups::Cgroups,
};

/// The flags that select events. An event must match each given flag. A list matches if one of its
/// items matches. Unknown fields match no flag.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    #[command(flatten)]
    sockets: filter::Flags,

    /// Transition, such as listen:syn_recv or :close
    ///
    /// Transition FROM:TO. An empty FROM or TO matches every state, so :close matches all
    /// transitions to CLOSE.
    #[arg(long, value_name = "FROM:TO", help_heading = FILTERS)]
    transition: Option<Moves>,

    /// Numeric user id of the socket
    #[arg(long, value_name = "UIDS", help_heading = FILTERS)]
    uid: Option<Numbers>,

    /// Cgroup path or container id
    ///
    /// Cgroup path such as /system.slice/nginx.service, or at least the first 12 digits of a
    /// container id. A path matches all sockets that were created in this cgroup or in a cgroup
    /// below it. A time-wait socket matches by the process that closed the connection.
    #[arg(long, value_name = "CGROUPS", help_heading = FILTERS)]
    cgroup: Option<CgroupPaths>,
}

/// The flags that depend on the stored state of a socket. Only event lines can be filtered by these
/// flags.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ConnectionConditions {
    /// Id of the process that owns the socket
    ///
    /// Id of the process that owns the socket. A time-wait socket matches by the process that
    /// closed the connection.
    #[arg(long, value_name = "PIDS", help_heading = FILTERS)]
    pid: Option<Numbers>,

    /// Name of the owner process, as in /proc/PID/comm
    ///
    /// Name of the owner process, as in /proc/PID/comm. A time-wait socket matches by the process
    /// that closed the connection.
    #[arg(long, value_name = "NAMES", help_heading = FILTERS)]
    comm: Option<Names>,

    /// Minimum time in the previous state
    ///
    /// Minimum time in the previous state. With --connections, the minimum duration of the
    /// connection.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = FILTERS)]
    min_duration: Option<Duration>,
}

/// The flags of [`ConnectionConditions`] in `hist`. The help texts do not list these flags. If a
/// user passes one of these flags, `hist` refuses the flag and prints help.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct UnavailableConditions {
    #[arg(long, hide = true)]
    pid: Option<String>,
    #[arg(long, hide = true)]
    comm: Option<String>,
    #[arg(long, hide = true)]
    min_duration: Option<String>,
}

/// The errors of filters.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A filter and snapshots were requested, but snapshots count all sockets.
    #[error("cannot use {0} with snapshots: a snapshot counts all sockets")]
    Gauges(&'static str),
    /// A filter and the matrix were requested, but the matrix counts the transitions of all
    /// sockets.
    #[error("cannot use {0} with the matrix: the matrix counts the transitions of all sockets")]
    Matrix(&'static str),
    /// An owner was given for durations, but the owner is not known when a duration is recorded.
    #[error(
        "cannot use {0} with hist: the owner of an accepted connection is not known when its first durations are recorded"
    )]
    Owner(&'static str),
    /// `--min-duration` would remove the short durations from each histogram.
    #[error(
        "cannot use --min-duration with hist: the filter would remove the short durations from each histogram"
    )]
    Shortest,
    /// A process was given by its id, but the ids that the kernel and `/proc` use differ.
    #[error(
        "cannot use --pid: /proc does not show the PID namespace of tcpstate, so the ids are unknown"
    )]
    NoPids,
    /// The cgroup does not exist.
    #[error("cannot find the cgroup {0}: it does not exist")]
    NoCgroup(String),
    /// The cgroup exists only in version 1.
    #[error(
        "cannot filter by the cgroup {0}: it is of version 1, and sockets belong to cgroups of version 2"
    )]
    OnlyVersion1(String),
    /// More cgroups match than the filter in the kernel can hold.
    #[error("cannot use --cgroup: it matches {0} cgroups, and the limit is {FILTER_ITEMS}")]
    ManyCgroups(usize),
    /// More networks were given than the filter in the kernel can hold.
    #[error(transparent)]
    Networks(#[from] TooManyNetworks),
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Gauges(_) => {
                "use --events without --interval, --by with a key such as comm, or tcpstate count"
            }
            Self::Matrix(_) => "leave out the filter, or remove matrix from --of",
            Self::Owner(_) => {
                "use tcpstate trace --events, or use --by comm to group by the process that opens, accepts or closes the connection"
            }
            Self::Shortest => "use the buckets of -o json, or tcpstate trace --events",
            Self::NoCgroup(_) => {
                "list cgroups with `find /sys/fs/cgroup -type d`; a container whose id is given must be running"
            }
            Self::NoPids => {
                "mount /proc for this PID namespace (mount -t proc proc /proc), or use --comm"
            }
            Self::OnlyVersion1(_) => {
                "use --pid or --comm with the processes of the cgroup, or --netns pid:N with a process of the container"
            }
            Self::ManyCgroups(_) => "choose a parent cgroup",
            Self::Networks(_) => "use shorter prefixes, or filter the output",
        };
        help.into()
    }
}

impl Flags {
    /// Returns the IP family of the gauges and the events.
    pub(super) fn family(&self) -> family::Choice {
        self.sockets.family
    }

    /// Returns the name of the first given flag, except `--family`.
    pub(super) fn given(&self) -> Option<&'static str> {
        let others = [
            (self.transition.is_some(), "--transition"),
            (self.uid.is_some(), "--uid"),
            (self.cgroup.is_some(), "--cgroup"),
        ];
        self.sockets.given().or_else(|| first(others))
    }

    /// Returns the name of the given flag that selects transitions.
    pub(super) fn given_moves(&self) -> Option<&'static str> {
        first([
            (self.sockets.state.is_some(), "--state"),
            (self.transition.is_some(), "--transition"),
        ])
    }

    /// Returns a filter with the conditions of all flags. This function also finds the ids of the
    /// cgroups.
    pub(super) fn filter(&self) -> Result<EventFilter, Error> {
        let states = self.sockets.state.map(Moves::touching);
        let moves = match (states, self.transition) {
            (Some(states), Some(moves)) => Some(states.and(moves)),
            (states, moves) => states.or(moves),
        };
        let filter = EventFilter {
            ports: self.sockets.ports(),
            addresses: self.sockets.addresses(),
            moves,
            uids: self.uid.clone(),
            cgroups: self.cgroup.as_ref().map(CgroupPaths::find).transpose()?,
            ..EventFilter::default()
        };
        filter.check()?;
        Ok(filter)
    }
}

impl ConnectionConditions {
    /// Returns the name of the first given flag.
    pub(super) fn given(&self) -> Option<&'static str> {
        first([
            (self.pid.is_some(), "--pid"),
            (self.comm.is_some(), "--comm"),
            (self.min_duration.is_some(), "--min-duration"),
        ])
    }

    /// Returns the minimum duration.
    pub(super) fn min_duration(&self) -> Option<Duration> {
        self.min_duration
    }

    /// Adds the conditions of these flags to a filter, and returns the filter.
    pub(super) fn narrow(&self, filter: EventFilter) -> Result<EventFilter, Error> {
        if self.pid.is_some() && PidNamespace::of_proc() == PidNamespace::Unknown {
            return Err(Error::NoPids);
        }
        Ok(EventFilter {
            pids: self.pid.clone(),
            comms: self.comm.clone(),
            min_duration: self.min_duration,
            ..filter
        })
    }
}

impl UnavailableConditions {
    pub(super) fn refuse(&self) -> Result<(), Error> {
        let owner = [(self.pid.is_some(), "--pid"), (self.comm.is_some(), "--comm")];
        match first(owner) {
            Some(flag) => Err(Error::Owner(flag)),
            None if self.min_duration.is_some() => Err(Error::Shortest),
            None => Ok(()),
        }
    }
}

fn first<const N: usize>(flags: [(bool, &'static str); N]) -> Option<&'static str> {
    flags.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
}

/// Cgroups as typed: paths or container ids.
#[derive(Clone, Debug)]
struct CgroupPaths(Vec<String>);

impl CgroupPaths {
    fn find(&self) -> Result<Vec<u64>, Error> {
        let cgroups = Cgroups::now();
        let mut numbers = Vec::new();
        for place in &self.0 {
            let matching = cgroups.matching(place);
            if matching.is_empty() {
                let place = place.clone();
                return Err(if Cgroups::is_in_version_1(&place) {
                    Error::OnlyVersion1(place)
                } else {
                    Error::NoCgroup(place)
                });
            }
            numbers.extend(matching);
        }
        if numbers.len() > FILTER_ITEMS {
            Err(Error::ManyCgroups(numbers.len()))
        } else {
            Ok(numbers)
        }
    }
}

impl FromStr for CgroupPaths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::filter::list(text, place).map(Self)
    }
}

fn place(word: &str) -> Result<String, String> {
    /// The minimum number of digits of a container id, which is the number that `docker ps` shows.
    const DIGITS: usize = 12;
    let is_id = word.len() >= DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        return Ok(word.to_ascii_lowercase());
    }
    if word.starts_with('/') {
        let path = word.trim_end_matches('/');
        return Ok(if path.is_empty() { "/" } else { path }.to_owned());
    }
    Err(format!(
        "is not a cgroup: expected a path that begins with a slash, or at least {DIGITS} digits of a container id"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_a_path_or_an_id() {
        let places: CgroupPaths = "/system.slice/, 0123456789AB,/".parse().expect("cgroups");
        assert_eq!(places.0, ["/system.slice", "0123456789ab", "/"]);
        for (text, reason) in [
            ("/a,nginx", "at character 4: 'nginx' is not a cgroup"),
            ("0123456789", "at character 1: '0123456789' is not a cgroup"),
        ] {
            let error = text.parse::<CgroupPaths>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
