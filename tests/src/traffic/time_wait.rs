//! Connections that are over, and left a time-wait mini socket each: a minute of them, in any number.

use super::{Family, Listener, load::close};
use crate::netns::Sysctl;

/// Connections to one listener: of the 28,000 ports that a client can choose from, so few that it finds one at once.
const GROUP: usize = 16_000;

/// Leaves that many sockets in TIME_WAIT, spread over the families; the listeners are closed again.
///
/// # Panics
/// If loopback does not work.
pub fn leave_time_wait(sockets: usize, families: &[Family]) {
    // Over loopback, connect() would take the ports of sockets in TIME_WAIT, and them with it.
    let _no_reuse = Sysctl::held("net.ipv4.tcp_tw_reuse", "0");
    for (number, &family) in families.iter().enumerate() {
        // The first families take what cannot be divided.
        let connections = (sockets + families.len() - 1 - number) / families.len();
        for done in (0..connections).step_by(GROUP) {
            let listener = Listener::open(family);
            for _ in 0..GROUP.min(connections - done) {
                close((listener.connect(), listener.accept()));
            }
        }
    }
}
