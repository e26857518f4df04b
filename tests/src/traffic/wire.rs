//! A tun device whose segments go to the peers, by their addresses.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Tun, segment::Segment};

/// The time after which the reader looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// The tun device with a thread that reads it. Segments to unknown addresses are dropped: their
/// peer is silent.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tun: Tun,
    peers: Mutex<HashMap<IpAddr, Sender<Segment>>>,
    is_ended: AtomicBool,
}

impl Wire {
    /// Creates the device in the thread's namespace.
    ///
    /// # Errors
    /// Returns an error if the kernel has no tun devices, or if the caller is not root.
    pub fn open() -> io::Result<Self> {
        let (tun, peers) = (Tun::open()?, Mutex::default());
        let shared = Arc::new(Shared { tun, peers, is_ended: AtomicBool::new(false) });
        let reader = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.distribute()
        });
        Ok(Self { shared, reader: Some(reader) })
    }

    /// Returns the segments to these addresses from now on.
    #[must_use]
    pub fn register(&self, addresses: &[IpAddr]) -> Receiver<Segment> {
        let (sender, segments) = mpsc::channel();
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.extend(addresses.iter().map(|&address| (address, sender.clone())));
        segments
    }

    /// Makes the peers with these addresses silent.
    pub fn forget(&self, addresses: &[IpAddr]) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|address, _| !addresses.contains(address));
    }

    /// Lets the kernel receive a segment.
    pub fn send(&self, segment: &Segment) {
        self.shared.tun.send(segment);
    }
}

impl Shared {
    fn distribute(&self) {
        while !self.is_ended.load(Ordering::Relaxed) {
            let Some(segment) = self.tun.receive(LOOK) else { continue };
            let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(peer) = peers.get(&segment.to.ip()) {
                // A peer that has ended no longer reads its segments.
                let _ = peer.send(segment);
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::Relaxed);
        let result = self.reader.take().map(JoinHandle::join);
        // A second panic would hide the first panic.
        assert!(result.is_none_or(|it| it.is_ok()) || thread::panicking(), "the reader failed");
    }
}
