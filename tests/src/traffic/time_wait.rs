//! Connections that are over, and left a time-wait mini socket each: a minute of them, in any number.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{Family, Listener, load::close};
use crate::netns::Sysctl;

/// Connections to one listener: of the 28,000 ports that a client can choose from, so few that it finds one at once. It tries one
/// after the other, of one half first, and where half of that half was taken, most of the time went into it.
const GROUP: usize = 4_000;

/// Leaves that many sockets in TIME_WAIT, spread over the families; the listeners are closed again. All processors work
/// at it, for the first of these sockets ends a minute after it was made.
///
/// # Panics
/// If loopback does not work.
pub fn leave_time_wait(sockets: usize, families: &[Family]) {
    // Over loopback, connect() would take the ports of sockets in TIME_WAIT, and them with it.
    let _no_reuse = Sysctl::held("net.ipv4.tcp_tw_reuse", "0");
    let mut groups = Vec::new();
    for (number, &family) in families.iter().enumerate() {
        // The first families take what cannot be divided.
        let connections = (sockets + families.len() - 1 - number) / families.len();
        groups.extend(
            (0..connections).step_by(GROUP).map(|done| (family, GROUP.min(connections - done))),
        );
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&(family, connections)) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let listener = Listener::open(family);
            for _ in 0..connections {
                close((listener.connect(), listener.accept()));
            }
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors.min(groups.len()) {
            scope.spawn(work);
        }
    });
}
