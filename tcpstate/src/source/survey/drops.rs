//! The packets that listeners dropped.
//!
//! The kernel counts the drops of each listening socket (`sk_drops`). The number ends with the
//! socket, so this module adds up what the numbers grew by.

use std::collections::{HashMap, HashSet};

use tcpstate_common::State;

use crate::{
    filter::Filter,
    report::ListenDrops,
    source::sock_diag::{self, Query, Socket},
};

/// For each listener, its cookie, its local port and its number of drops.
pub(super) type List = Vec<(u64, u16, u32)>;

/// The drops of all listeners since the start.
pub(super) struct Drops {
    /// The maximum number of ports that have a number of their own.
    max: usize,
    /// The number of drops of each listener at the last list.
    listeners: HashMap<u64, u32>,
    /// The drops until now. The field is `None` before the first list.
    shown: Option<ListenDrops>,
}

/// Adds the listeners of the calling thread's network namespace.
pub(super) fn add_here(list: &mut Option<List>) {
    let filter = Filter { states: [State::Listen].into_iter().collect(), ..Filter::default() };
    let query = Query { drops: true, ..Query::of(&filter) };
    let add = |list: &mut List, socket: &Socket| {
        if let Some(drops) = socket.detail.drops {
            list.push((socket.cookie, socket.local.port(), drops));
        }
    };
    if let Ok(answer) = sock_diag::collect(&query, List::new, add)
        && answer.instead_of.is_none()
    {
        list.get_or_insert_default().extend(answer.sum);
    }
}

impl Drops {
    pub(super) fn new(max: usize) -> Self {
        Self { max, listeners: HashMap::new(), shown: None }
    }

    pub(super) fn shown(&self) -> Option<&ListenDrops> {
        self.shown.as_ref()
    }

    /// Adds the drops since the last list. The drops before the first list do not count.
    pub(super) fn take(&mut self, list: &List) {
        let is_first = self.shown.is_none();
        let mut shown = self.shown.take().unwrap_or_default();
        let open: HashSet<u16> = list.iter().map(|&(_, port, _)| port).collect();
        let mut listeners = HashMap::with_capacity(list.len());
        for &(cookie, port, drops) in list {
            let earlier = self.listeners.get(&cookie).copied();
            let earlier = earlier.unwrap_or(if is_first { drops } else { 0 });
            listeners.insert(cookie, drops);
            // The kernel's number overflows to 0.
            add(&mut shown, port, drops.wrapping_sub(earlier), self.max, &open);
        }
        // A port without a listener and without drops needs no number.
        shown.ports.retain(|port, count| *count > 0 || open.contains(port));
        self.listeners = listeners;
        self.shown = Some(shown);
    }
}

/// Adds the drops of a port. If no port has room, a port without a listener gives its room away.
fn add(shown: &mut ListenDrops, port: u16, drops: u32, max: usize, open: &HashSet<u16>) {
    if !shown.ports.contains_key(&port) && shown.ports.len() >= max {
        let closed = shown.ports.keys().copied().find(|port| !open.contains(port));
        let Some(count) = closed.and_then(|closed| shown.ports.remove(&closed)) else {
            shown.other += u64::from(drops);
            return;
        };
        shown.other += count;
    }
    *shown.ports.entry(port).or_default() += u64::from(drops);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(drops: &Drops) -> (Vec<(u16, u64)>, u64) {
        let shown = drops.shown().expect("there was a list");
        (shown.ports.iter().map(|(&port, &count)| (port, count)).collect(), shown.other)
    }

    #[test]
    fn drops_survive_the_restart_of_a_listener() {
        let mut drops = Drops::new(9);
        drops.take(&vec![(1, 80, 7)]);
        assert_eq!(shown(&drops), (vec![(80, 0)], 0), "drops before the start do not count");
        drops.take(&vec![(1, 80, 10)]);
        drops.take(&Vec::new());
        drops.take(&vec![(2, 80, 4), (3, 81, 0)]);
        assert_eq!(shown(&drops), (vec![(80, 7), (81, 0)], 0));
        drops.take(&vec![(2, 80, 5), (4, 80, 1)]);
        assert_eq!(shown(&drops), (vec![(80, 9)], 0));
    }

    #[test]
    fn a_number_of_the_kernel_can_overflow() {
        let mut drops = Drops::new(9);
        drops.take(&vec![(1, 80, u32::MAX)]);
        drops.take(&vec![(1, 80, 2)]);
        assert_eq!(shown(&drops), (vec![(80, 3)], 0));
    }

    #[test]
    fn ports_without_a_listener_give_their_room_away() {
        let mut drops = Drops::new(1);
        drops.take(&Vec::new());
        drops.take(&vec![(1, 80, 5), (2, 81, 6)]);
        assert_eq!(shown(&drops), (vec![(80, 5)], 6));
        drops.take(&vec![(2, 81, 7)]);
        assert_eq!(shown(&drops), (vec![(81, 1)], 11));
        let mut drops = Drops::new(9);
        drops.take(&vec![(1, 80, 5)]);
        drops.take(&Vec::new());
        assert_eq!(shown(&drops), (vec![], 0), "the port had no drops");
    }
}
