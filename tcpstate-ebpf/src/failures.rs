//! Counts failed connects by the error of the socket, for `serve`. The flag for failures is frozen,
//! so the verifier removes this code from programs that do not count failures.

use tcpstate_common::{
    State,
    abi::{FAILED_CONNECT_SLOTS, FAILED_WITHOUT_PORT, FLAG_FAILURES},
};

use crate::{
    access::Access, atomic::add_one_atomically, config::config, maps::FAILED_CONNECTS, sock::Sock,
};

const SYN_SENT: usize = State::SynSent as usize;
const CLOSE: usize = State::Close as usize;

/// Counts a transition if it is a failed connect.
#[inline(always)]
pub(crate) fn count<A: Access>(sock: Sock<A>, from: usize, to: usize) {
    if config!(flags) & FLAG_FAILURES != 0 && from == SYN_SENT && to == CLOSE {
        failed(sock);
    }
}

/// The function is not inlined, because failed connects are rare.
#[inline(never)]
fn failed<A: Access>(sock: Sock<A>) {
    let Some(counts) = FAILED_CONNECTS.get_ptr_mut(0) else { return };
    let error: u32 = sock.load(config!(events.sk_err));
    // connect() found no free port if the socket has no error and never had a port.
    let is_without_port = error == 0 && sock.local_port(SYN_SENT) == 0;
    let slot = if is_without_port { FAILED_WITHOUT_PORT } else { error as usize };
    // SAFETY: `counts` points to this CPU's map element, and the index is masked to the array's
    // length.
    unsafe {
        let counts = counts.cast::<u64>();
        add_one_atomically(counts.add(slot & (FAILED_CONNECT_SLOTS - 1)));
    }
}
