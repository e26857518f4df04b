//! Filters groups of sockets by the values of their keys.

use super::{End, EventFilter, Ports};
use crate::report::{Key, OwnerGroup, OwnerKind, Owners, Process, key::Value};

/// A filter of groups. The filter keeps the groups whose values match all conditions, and the
/// groups without values: other, unknown and gone.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter(EventFilter);

/// The error if a condition concerns a property by which sockets are not grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey {
    /// The flag of the condition.
    pub flag: &'static str,
    /// The key that has the property, or `None` if no key has it.
    pub key: Option<Key>,
}

impl GroupFilter {
    /// Returns a filter of the groups by the keys `by`.
    pub fn new(filter: EventFilter, by: &[Key]) -> Result<Self, NoKey> {
        let needs = |flag, keys: &[Key]| {
            let has_key = keys.iter().any(|key| by.contains(key));
            if has_key { Ok(()) } else { Err(NoKey { flag, key: keys.first().copied() }) }
        };
        // The programs evaluate the condition `program` themselves.
        let EventFilter {
            ports,
            addresses,
            moves,
            pids,
            program: _,
            comms,
            uids,
            cgroups,
            min_duration,
        } = &filter;
        for (end, _) in ports {
            match end {
                End::Local => needs("--local-port", &[Key::LocalPort])?,
                End::Remote => needs("--remote-port", &[Key::RemotePort])?,
                End::Either => needs("--port", &[])?,
            }
        }
        for (end, _) in addresses {
            match end {
                End::Local => needs("--local", &[])?,
                End::Remote => needs("--remote", &[Key::Remote])?,
                End::Either => needs("--address", &[])?,
            }
        }
        for (is_given, flag, keys) in [
            (pids.is_some(), "--pid", &[Key::Process][..]),
            (comms.is_some(), "--comm", &[Key::Comm, Key::Process]),
            (uids.is_some(), "--uid", &[Key::User]),
            (cgroups.is_some(), "--cgroup", &[]),
            (moves.is_some(), "--state or --transition", &[]),
            (min_duration.is_some(), "--min-duration", &[]),
        ] {
            if is_given {
                needs(flag, keys)?;
            }
        }
        Ok(Self(filter))
    }

    /// Removes the groups that do not match.
    pub fn apply(&self, owners: &mut Owners) {
        let Owners { by, groups, .. } = owners;
        groups.retain(|group| self.keeps(group, by));
    }

    fn keeps(&self, group: &OwnerGroup, by: &[Key]) -> bool {
        let OwnerKind::Group(values) = &group.kind else { return true };
        by.iter().zip(values).all(|(&key, value)| self.matches(key, value))
    }

    fn matches(&self, key: Key, value: &Value) -> bool {
        let Self(filter) = self;
        let is_named = |name: &str| filter.comms.as_ref().is_none_or(|names| names.contain(name));
        match value {
            Value::Process(Process { pid, name }) => {
                filter.pids.as_ref().is_none_or(|pids| pids.contain(*pid)) && is_named(name)
            }
            Value::Comm(name) => is_named(name),
            Value::User(uid) => filter.uids.as_ref().is_none_or(|uids| uids.contain(*uid)),
            Value::Address(address) => {
                let of_peer = filter.addresses.iter().filter(|(end, _)| *end == End::Remote);
                of_peer.into_iter().all(|(_, addresses)| addresses.contain(*address))
            }
            Value::Port(port) => self.on_ports(key).all(|ports| ports.contain(*port)),
            Value::Client => self.on_ports(key).next().is_none(),
            Value::None => !self.has_condition(key),
            Value::Cgroup(_)
            | Value::Unit(_)
            | Value::Container(_)
            | Value::Netns(..)
            | Value::State(_) => true,
        }
    }

    /// Returns the conditions on the ports of a key.
    fn on_ports(&self, key: Key) -> impl Iterator<Item = &Ports> {
        let wanted = if key == Key::LocalPort { End::Local } else { End::Remote };
        self.0.ports.iter().filter(move |(end, _)| *end == wanted).map(|(_, ports)| ports)
    }

    /// Returns whether a condition concerns a key.
    fn has_condition(&self, key: Key) -> bool {
        match key {
            Key::Process | Key::Comm => self.0.pids.is_some() || self.0.comms.is_some(),
            Key::User => self.0.uids.is_some(),
            Key::LocalPort | Key::RemotePort => self.on_ports(key).next().is_some(),
            Key::Remote => !self.0.addresses.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::OwnerCounts;

    fn group(values: Vec<Value>) -> OwnerGroup {
        OwnerGroup {
            kind: OwnerKind::Group(values),
            states: None,
            total: OwnerCounts::default(),
            interval: OwnerCounts::default(),
            likely_owner: None,
        }
    }

    fn process(pid: u32, name: &str) -> Value {
        Value::Process(Process { pid, name: name.to_owned() })
    }

    #[test]
    fn groups_match_by_the_values_of_their_keys() {
        let by = [Key::Process, Key::RemotePort];
        let filter = EventFilter {
            comms: Some("curl".parse().expect("a name")),
            ports: vec![(End::Remote, "80,443".parse().expect("ports"))],
            ..EventFilter::default()
        };
        let filter = GroupFilter::new(filter, &by).expect("both are keys");
        let keeps = |values| filter.keeps(&group(values), &by);
        assert!(keeps(vec![process(1, "curl"), Value::Port(443)]));
        assert!(!keeps(vec![process(1, "curl"), Value::Port(22)]));
        assert!(!keeps(vec![process(1, "curl"), Value::Client]));
        assert!(!keeps(vec![process(1, "curl"), Value::None]));
        assert!(!keeps(vec![process(1, "wget"), Value::Port(443)]));
        let unknown = OwnerGroup { kind: OwnerKind::Unknown, ..group(Vec::new()) };
        assert!(filter.keeps(&unknown, &by));
    }

    #[test]
    fn a_condition_without_a_key_is_refused() {
        let comm = || EventFilter {
            comms: Some("curl".parse().expect("a name")),
            ..EventFilter::default()
        };
        let no_key = |filter, by: &[Key]| GroupFilter::new(filter, by).err();
        assert_eq!(
            no_key(comm(), &[Key::Remote]),
            Some(NoKey { flag: "--comm", key: Some(Key::Comm) })
        );
        assert_eq!(no_key(comm(), &[Key::Process]), None);
        let local = EventFilter {
            addresses: vec![(End::Local, "127.0.0.1".parse().expect("an address"))],
            ..EventFilter::default()
        };
        assert_eq!(no_key(local, &[Key::Remote]), Some(NoKey { flag: "--local", key: None }));
    }
}
