//! For each state, counts the existing sockets. If requested, also counts the sockets of each
//! group. The command `count` shows the result.
//!
//! The census counts sockets one by one and stores no socket. The census stores one number for each
//! state and group, and limits the number of groups.

use std::collections::HashMap;

use tcpstate_common::State;

use crate::{
    report::count::{By, Group, Groups, Key, Name, Other, States, total},
    source::sock_diag::Socket,
};

/// The maximum number of groups. This number is enough for all ports. The number is usually enough
/// for every other property, except the remote addresses of a busy server. Groups beyond the
/// maximum are summed as `other`. All groups together use at most about 10 MiB.
pub const MAX_GROUPS: usize = 1 << 16;

/// The numbers of sockets that were counted so far.
#[derive(Clone, Debug, Default)]
pub struct Census {
    states: States,
    groups: HashMap<Key, States>,
    /// The sockets whose group did not fit in the table.
    beyond: States,
}

impl Census {
    /// Adds a socket to the count of the socket's state. If a key is given, also adds the socket to
    /// the group of this key. Sockets in states without a gauge are not counted.
    pub fn add(&mut self, socket: &Socket, key: Option<Key>) {
        let Some(slot) = State::GAUGES.iter().position(|&state| state == socket.state) else {
            return;
        };
        self.states[slot] += 1;
        let Some(key) = key else { return };
        let is_full = self.groups.len() >= MAX_GROUPS;
        let group = match self.groups.get_mut(&key) {
            Some(group) => group,
            None if is_full => &mut self.beyond,
            None => self.groups.entry(key).or_default(),
        };
        group[slot] += 1;
    }

    /// For each state, returns the number of all sockets.
    #[must_use]
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Returns the largest groups (at most `top` groups) and the totals of the other groups. The
    /// groups `none` and `unknown` are always shown, after all other groups.
    #[must_use]
    pub fn top(mut self, by: By, top: usize, name: impl Fn(&Key) -> Name) -> Groups {
        let row = |key: &Key, states: States| Group { name: name(key), states };
        let apart = [Key::None, Key::Unknown]
            .into_iter()
            .filter_map(|key| self.groups.remove(&key).map(|states| row(&key, states)))
            .collect::<Vec<_>>();
        let mut ranked: Vec<_> = self.groups.into_iter().collect();
        ranked.sort_unstable_by(|(a, a_states), (b, b_states)| {
            total(b_states).cmp(&total(a_states)).then_with(|| a.cmp(b))
        });
        let rest = ranked.split_off(top.min(ranked.len()));
        let mut rows: Vec<_> = ranked.iter().map(|(key, states)| row(key, *states)).collect();
        rows.extend(apart);
        let mut other =
            Other { states: self.beyond, groups: rest.len(), beyond: total(&self.beyond) };
        for (_, states) in rest {
            for (sum, count) in other.states.iter_mut().zip(states) {
                *sum += count;
            }
        }
        Groups { by, rows, other }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::source::sock_diag::Detail;

    fn socket(state: State) -> Socket {
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Socket {
            state,
            local: end,
            remote: end,
            holder: None,
            cgroup: None,
            detail: Detail::default(),
        }
    }

    fn name(key: &Key) -> Name {
        match key {
            Key::Uid(uid) => Key::Uid(*uid),
            Key::Unknown => Key::Unknown,
            Key::None => Key::None,
            _ => unreachable!("these tests group by user"),
        }
    }

    fn summary(groups: &Groups) -> Vec<(Name, u64)> {
        groups.rows.iter().map(|group| (group.name.clone(), total(&group.states))).collect()
    }

    #[test]
    fn the_largest_groups_come_first_and_the_rest_is_other() {
        let mut census = Census::default();
        for (uid, sockets) in [(1, 3), (2, 5), (3, 3), (4, 1), (5, 2)] {
            for _ in 0..sockets {
                census.add(&socket(State::Established), Some(Key::Uid(uid)));
            }
        }
        census.add(&socket(State::TimeWait), Some(Key::None));
        census.add(&socket(State::CloseWait), Some(Key::Unknown));
        assert_eq!(total(census.states()), 16);
        let groups = census.top(By::Uid, 3, name);
        let expected = [
            (Key::Uid(2), 5),
            (Key::Uid(1), 3),
            (Key::Uid(3), 3),
            (Key::None, 1),
            (Key::Unknown, 1),
        ];
        assert_eq!(summary(&groups), expected);
        assert_eq!((total(&groups.other.states), groups.other.groups), (3, 2));
        assert_eq!(groups.other.beyond, 0);
    }

    #[test]
    fn groups_are_bounded_and_no_socket_is_lost() {
        let mut census = Census::default();
        let many = u32::try_from(MAX_GROUPS).expect("some thousands") + 1000;
        for uid in (0..many).chain(0..10) {
            census.add(&socket(State::Established), Some(Key::Uid(uid)));
        }
        let all = total(census.states());
        let groups = census.top(By::Uid, 10, name);
        assert_eq!(groups.other.beyond, 1000);
        assert_eq!(groups.other.groups, MAX_GROUPS - 10);
        let shown: u64 = summary(&groups).iter().map(|(_, sockets)| sockets).sum();
        assert_eq!(shown, 20);
        assert_eq!(shown + total(&groups.other.states), all);
    }

    #[test]
    fn states_without_a_gauge_are_not_counted() {
        let mut census = Census::default();
        census.add(&socket(State::Close), Some(Key::Uid(1)));
        assert_eq!(total(census.states()), 0);
        assert!(census.top(By::Uid, 10, name).rows.is_empty());
    }
}
