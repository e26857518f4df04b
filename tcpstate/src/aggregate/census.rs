//! For each state, counts the existing sockets. If requested, also counts the sockets of each
//! group. The command `count` shows the result.
//!
//! The census counts sockets one by one and stores no socket. The census stores one number for each
//! state and group, and limits the number of groups.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use tcpstate_common::State;

use crate::report::{
    Key,
    count::{Group, Groups, Lack, Other, States, total},
    key::Value,
};

/// The maximum number of groups. This number is enough for all ports. The number is usually enough
/// for every other property, except the remote addresses of a busy server. Groups beyond the
/// maximum are summed as `other`. All groups together use at most about 20 MiB.
pub const MAX_GROUPS: usize = 1 << 16;

/// The value of a key of one socket. The names of processes and paths of cgroups are looked up only
/// for the groups that are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Raw {
    /// A number: a port, a process, a user, a cgroup or a namespace.
    Number(u64),
    /// An address.
    Address(IpAddr),
    /// A state.
    State(State),
    /// A text.
    Text(Arc<str>),
    /// The socket has no value.
    None,
}

/// The numbers of sockets that were counted so far.
#[derive(Clone, Debug, Default)]
pub struct Census {
    states: States,
    groups: HashMap<Vec<Raw>, States>,
    without: HashMap<Lack, States>,
    /// The sockets whose group did not fit in the table.
    beyond: States,
}

impl Census {
    /// Adds a socket to the count of its state. If groups are requested, also adds the socket to
    /// the group with these values. Sockets in states without a gauge are not counted.
    pub fn add(&mut self, state: State, values: Option<Result<&[Raw], Lack>>) {
        let Some(slot) = State::GAUGES.iter().position(|&gauge| gauge == state) else {
            return;
        };
        let mut one = States::default();
        one[slot] = 1;
        self.states[slot] += 1;
        match values {
            Some(Ok(values)) => self.add_to_group(values, &one),
            Some(Err(lack)) => add(self.without.entry(lack).or_default(), &one),
            None => {}
        }
    }

    fn add_to_group(&mut self, values: &[Raw], states: &States) {
        let is_full = self.groups.len() >= MAX_GROUPS;
        let group = match self.groups.get_mut(values) {
            Some(group) => group,
            None if is_full => &mut self.beyond,
            None => self.groups.entry(values.to_vec()).or_default(),
        };
        add(group, states);
    }

    /// Adds the sockets of another namespace.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.states, &other.states);
        add(&mut self.beyond, &other.beyond);
        for (&lack, states) in &other.without {
            add(self.without.entry(lack).or_default(), states);
        }
        for (values, states) in &other.groups {
            self.add_to_group(values, states);
        }
    }

    /// For each state, returns the number of all sockets.
    #[must_use]
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Returns the largest groups (at most `top` groups) and the totals of the other groups. `name`
    /// returns a value in the form that output shows.
    #[must_use]
    pub fn top(self, by: &[Key], top: usize, name: impl Fn(Key, &Raw) -> Value) -> Groups {
        let mut ranked: Vec<_> = self.groups.into_iter().collect();
        ranked.sort_unstable_by(|(a, a_states), (b, b_states)| {
            total(b_states).cmp(&total(a_states)).then_with(|| a.cmp(b))
        });
        let rest = ranked.split_off(top.min(ranked.len()));
        let row = |(raw, states): (Vec<Raw>, States)| Group {
            values: by.iter().zip(&raw).map(|(&key, raw)| name(key, raw)).collect(),
            states,
        };
        let mut other =
            Other { states: self.beyond, groups: rest.len(), beyond: total(&self.beyond) };
        for (_, states) in &rest {
            add(&mut other.states, states);
        }
        let without = |lack| self.without.get(&lack).map(|&states| (lack, states));
        Groups {
            by: by.to_vec(),
            rows: ranked.into_iter().map(row).collect(),
            without: Lack::ALL.into_iter().filter_map(without).collect(),
            other,
        }
    }
}

fn add(sum: &mut States, states: &States) {
    for (sum, count) in sum.iter_mut().zip(states) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_uid(census: &mut Census, uid: u32) {
        census.add(State::Established, Some(Ok(&[Raw::Number(uid.into())])));
    }

    fn top(census: Census, top: usize) -> Groups {
        census.top(&[Key::User], top, |_, raw| match *raw {
            Raw::Number(uid) => Value::User(u32::try_from(uid).expect("a small number")),
            _ => unreachable!("these tests group by user"),
        })
    }

    fn summary(groups: &Groups) -> Vec<(Vec<Value>, u64)> {
        groups.rows.iter().map(|group| (group.values.clone(), total(&group.states))).collect()
    }

    #[test]
    fn the_largest_groups_come_first_and_the_rest_is_other() {
        let mut census = Census::default();
        for (uid, sockets) in [(1, 3), (2, 5), (3, 3), (4, 1), (5, 2)] {
            (0..sockets).for_each(|_| add_uid(&mut census, uid));
        }
        census.add(State::CloseWait, Some(Err(Lack::Unknown)));
        census.add(State::TimeWait, Some(Err(Lack::None)));
        assert_eq!(total(census.states()), 16);
        let groups = top(census, 3);
        let user = |uid| vec![Value::User(uid)];
        assert_eq!(summary(&groups), [(user(2), 5), (user(1), 3), (user(3), 3)]);
        let without: Vec<_> = groups.without.iter().map(|(lack, of)| (*lack, total(of))).collect();
        assert_eq!(without, [(Lack::None, 1), (Lack::Unknown, 1)]);
        assert_eq!((total(&groups.other.states), groups.other.groups), (3, 2));
        assert_eq!(groups.other.beyond, 0);
    }

    #[test]
    fn groups_are_bounded_and_no_socket_is_lost() {
        let mut census = Census::default();
        let many = u32::try_from(MAX_GROUPS).expect("some thousands") + 1000;
        for uid in (0..many).chain(0..10) {
            add_uid(&mut census, uid);
        }
        let all = total(census.states());
        let groups = top(census, 10);
        assert_eq!(groups.other.beyond, 1000);
        assert_eq!(groups.other.groups, MAX_GROUPS - 10);
        let shown: u64 = summary(&groups).iter().map(|(_, sockets)| sockets).sum();
        assert_eq!(shown, 20);
        assert_eq!(shown + total(&groups.other.states), all);
    }

    #[test]
    fn namespaces_add_up() {
        let mut all = Census::default();
        for uid in [1, 2] {
            let mut census = Census::default();
            add_uid(&mut census, uid);
            add_uid(&mut census, 3);
            census.add(State::TimeWait, Some(Err(Lack::None)));
            all.merge(&census);
        }
        assert_eq!(total(all.states()), 6);
        let groups = top(all, 9);
        let user = |uid| vec![Value::User(uid)];
        assert_eq!(summary(&groups), [(user(3), 2), (user(1), 1), (user(2), 1)]);
        assert_eq!(groups.without.len(), 1);
        assert_eq!(total(&groups.without[0].1), 2);
    }

    #[test]
    fn states_without_a_gauge_are_not_counted() {
        let mut census = Census::default();
        census.add(State::Close, Some(Ok(&[Raw::Number(1)])));
        assert_eq!(total(census.states()), 0);
        assert!(top(census, 10).rows.is_empty());
    }
}
