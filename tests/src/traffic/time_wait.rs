//! Closed connections that each leave a time-wait mini socket for a minute, in any number.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{Family, Listener, load::close};
use crate::netns::Sysctl;

/// The number of connections per listener. The number is small compared with the 28,000 client
/// ports, so a client finds a free port on the first attempt. The kernel first tries every second
/// port of the range, one after the other. With half of these ports in use, connect() spent most of
/// its time on the search for a free port.
const GROUP: usize = 4_000;

/// Leaves this number of sockets in TIME_WAIT, spread over the families. The listeners are closed
/// after the connections are made. All CPUs make connections, so that the last connection closes
/// before the first time-wait socket ends after a minute.
///
/// # Panics
/// Panics if loopback does not work.
pub fn leave_time_wait(sockets: usize, families: &[Family]) {
    // Over loopback, connect() would reuse the ports of sockets in TIME_WAIT, and end these
    // sockets.
    let _no_reuse = Sysctl::held("net.ipv4.tcp_tw_reuse", "0");
    let mut groups = Vec::new();
    for (number, &family) in families.iter().enumerate() {
        // If the number of connections is not a multiple of the number of families, the first
        // families get one connection more.
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
