//! A queue of collections that wait to be sent. The number and the size of the collections are
//! limited. A full queue drops its oldest collections.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Maximum number of collections in the queue. At the default interval, a full queue covers about
/// 15 minutes.
pub const QUEUE: usize = 64;
/// Maximum number of points in the queue. A point with its attributes uses about 400 bytes, so the
/// queue uses at most about 100 MiB. With the default `--max-series`, [`QUEUE`] collections
/// together have half of the maximum number of points. With series for 10,000 namespaces, two
/// collections together have the maximum number of points.
const MAX_POINTS: usize = 1 << 18;

/// The waiting collections, oldest first. Each element contains a collection and the number of
/// points in the collection.
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
    /// Adds a collection and returns the number of older collections that were dropped. The new
    /// collection is never dropped, regardless of its size.
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

    /// Removes and returns the oldest collection. Waits while the queue is empty.
    pub(super) async fn pop(&self) -> (T, usize) {
        loop {
            if let Some(oldest) = self.waiting().pop_front() {
                return oldest;
            }
            self.pushed.notified().await;
        }
    }

    /// Returns whether the queue still has space for the collection that the caller removed and
    /// tries to send. If the queue is empty, the queue has space for a collection of any size.
    pub(super) fn has_room_beside(&self, points: usize) -> bool {
        let waiting = self.waiting();
        waiting.is_empty() || has_room(&waiting, points)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(T, usize)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a collection with this number of points fits in the queue.
fn has_room<T>(waiting: &VecDeque<(T, usize)>, points: usize) -> bool {
    let all = waiting.iter().fold(points, |sum, (_, points)| sum + points);
    waiting.len() < QUEUE && all <= MAX_POINTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest_and_never_the_newest() {
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
