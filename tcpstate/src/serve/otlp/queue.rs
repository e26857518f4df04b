//! What waits to be sent: bounded in number and size, and the oldest give way.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Collections that wait at most: a quarter of an hour at the usual pace.
pub const QUEUE: usize = 64;
/// Points that wait at most, which is some 100 MiB: each has attributes, and takes some 400 bytes. A full queue with the usual
/// `--max-series` has half as many; with 10,000 namespaces it is two collections.
const MAX_POINTS: usize = 1 << 18;

/// What waits, the oldest first, and how many points each has.
pub(super) struct Queue<T> {
    waiting: Mutex<VecDeque<(T, usize)>>,
    pushed: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), pushed: Notify::new() }
    }
}

impl<T> Queue<T> {
    /// Returns how many older ones gave way; the new one stays, however large.
    pub(super) fn push(&self, new: T, points: usize) -> u64 {
        let mut waiting = self.waiting();
        let mut dropped = 0;
        while !waiting.is_empty() && !has_room(&waiting, points) {
            waiting.pop_front();
            dropped += 1;
        }
        waiting.push_back((new, points));
        self.pushed.notify_one();
        dropped
    }

    /// Waits for one, if there is none.
    pub(super) async fn pop(&self) -> (T, usize) {
        loop {
            if let Some(oldest) = self.waiting().pop_front() {
                return oldest;
            }
            self.pushed.notified().await;
        }
    }

    /// Whether one that was taken out may be kept, too: where nothing waits, however large it is.
    pub(super) fn has_room_beside(&self, points: usize) -> bool {
        let waiting = self.waiting();
        waiting.is_empty() || has_room(&waiting, points)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(T, usize)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one with so many points fits in.
fn has_room<T>(waiting: &VecDeque<(T, usize)>, points: usize) -> bool {
    let all = waiting.iter().fold(points, |sum, (_, points)| sum + points);
    waiting.len() < QUEUE && all <= MAX_POINTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_give_way_where_too_many_wait_or_too_large_ones_but_never_the_newest() {
        let many = Queue::default();
        let dropped: u64 = (0..QUEUE + 3).map(|number| many.push(number, 1)).sum();
        assert_eq!((dropped, many.pop().await.0), (3, 3));
        assert!(many.has_room_beside(1));
        many.push(0, 1);
        assert!(!many.has_room_beside(1));

        let large = Queue::default();
        let dropped = ["a", "b", "c"].map(|name| large.push(name, MAX_POINTS / 2));
        assert_eq!(dropped, [0, 0, 1]);
        assert_eq!(large.push("d", MAX_POINTS + 1), 2);
        assert!(!large.has_room_beside(1));
        assert_eq!(large.pop().await, ("d", MAX_POINTS + 1));
        assert!(large.has_room_beside(MAX_POINTS + 1));
    }
}
