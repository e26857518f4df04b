//! Lives without an ordinary connection: handshakes that do not complete, and listeners.

use super::{
    lifetime::{Lifetime, Listening, Step},
    peer::Peer,
};
use crate::traffic::segment::{ACK, FIN, PSH, RST, SYN};

/// A whole script.
pub(super) type Script = fn(&mut Lifetime<'_>) -> Step;

/// All scripts.
pub(super) const SCRIPTS: &[(&str, Script)] = &[
    ("SYN flood", flood),
    ("SYN again and again", repeated_syn),
    ("RST of a request", reset_of_request),
    ("wrong last ACK", wrong_last_ack),
    ("accept queue full", queue_full),
    ("listener closed with children", closed_with_children),
    ("children reset before accept", reset_before_accept),
    ("connect refused", refused),
    ("connect unanswered", unanswered),
    ("connect aborted", aborted),
    ("SYN of both, then RST", crossed_then_reset),
    ("SYN of both, then nothing", crossed_then_nothing),
    ("SYN of both, then close", crossed_then_close),
    ("Fast Open, then RST", fast_then_reset),
    ("Fast Open, then nothing", fast_then_nothing),
    ("Fast Open, then close", fast_then_close),
    ("listener stops and starts", listener_again),
    ("segments for a listener", stray),
    ("data deferred for ever", deferred_for_ever),
];

fn flood(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(1000)?;
    for _ in 0..3 + life.random.below(40) {
        let peer = life.peer(listening.address);
        life.send(peer, SYN, 0)?;
        match life.random.below(8) {
            0 => life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?,
            1 => {
                life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
                life.send(peer, RST, 0)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn repeated_syn(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(16)?;
    let peer = life.half_open(listening)?;
    let first = life.peers[peer].next.wrapping_sub(1);
    life.send_at(peer, first, SYN, 0)?;
    life.send_at(peer, first, SYN, 0)?;
    life.send_at(peer, first.wrapping_add(1 << 20), SYN, 0)?;
    life.send(peer, ACK, 0)
}

fn reset_of_request(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(16)?;
    for _ in 0..=life.random.below(5) {
        let peer = life.half_open(listening)?;
        life.send(peer, RST, 0)?;
    }
    Ok(())
}

fn wrong_last_ack(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(16)?;
    let peer = life.half_open(listening)?;
    let right = life.peers[peer].received;
    // The next number could be a valid SYN cookie with another segment size.
    life.peers[peer].received = right.wrapping_add(9);
    let next = life.peers[peer].next;
    life.send_at(peer, next, ACK, 0)?;
    life.until(peer, "RST", Peer::has_reset)?;
    life.peers[peer].received = right;
    life.send(peer, ACK, 0)?;
    life.attempt(&format!("accept {} 9", listening.slot))?.ok();
    Ok(())
}

/// The kernel drops the last ACK of a handshake if the queue is full, and keeps the request.
fn queue_full(life: &mut Lifetime<'_>) -> Step {
    let backlog = 1 + u32::try_from(life.random.below(3)).expect("it is small");
    let listening = life.listen(backlog)?;
    for _ in 0..backlog + 4 {
        let peer = life.peer(listening.address);
        life.send(peer, SYN, 0)?;
        // With a full queue, the kernel drops the SYN too.
        if life.peers.len() <= usize::try_from(backlog).expect("it is small") + 1 {
            life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
            life.send(peer, ACK, 0)?;
        }
    }
    if life.random.once_in(2) {
        let slot = life.accept(listening)?;
        life.run(&format!("close {slot}"))?;
    }
    Ok(())
}

fn children(life: &mut Lifetime<'_>) -> Step<Listening> {
    let listening = life.listen(16)?;
    for _ in 0..=life.random.below(4) {
        let peer = life.handshake(listening)?;
        if life.random.once_in(2) {
            life.send(peer, ACK | PSH, 10)?;
        }
        if life.random.once_in(3) {
            life.send(peer, FIN | ACK, 0)?;
        }
    }
    for _ in 0..life.random.below(3) {
        life.half_open(listening)?;
    }
    Ok(listening)
}

fn closed_with_children(life: &mut Lifetime<'_>) -> Step {
    let listening = children(life)?;
    life.run(&format!("close {}", listening.slot))?;
    Ok(())
}

fn reset_before_accept(life: &mut Lifetime<'_>) -> Step {
    let listening = children(life)?;
    for peer in 0..life.peers.len() {
        life.send(peer, RST, 0)?;
    }
    let slot = life.accept(listening)?;
    life.attempt(&format!("receive {slot}"))?.ok();
    Ok(())
}

/// Begins a connect. Returns the slot and the peer.
fn connecting(life: &mut Lifetime<'_>) -> Step<(u32, usize)> {
    let slot = life.socket()?;
    let (peer, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    life.await_syn(slot, peer)?;
    Ok((slot, peer))
}

fn refused(life: &mut Lifetime<'_>) -> Step {
    let (slot, peer) = connecting(life)?;
    life.send(peer, RST | ACK, 0)?;
    life.run(&format!("connected {slot}"))?;
    Ok(())
}

/// The kernel sends the SYN again, and the connect times out after the lifetime.
fn unanswered(life: &mut Lifetime<'_>) -> Step {
    connecting(life).map(drop)
}

fn aborted(life: &mut Lifetime<'_>) -> Step {
    let (slot, peer) = connecting(life)?;
    match life.random.below(3) {
        0 => life.run(&format!("close {slot}"))?,
        1 => life.run(&format!("disconnect {slot}"))?,
        _ => life.run(&format!("shutdown {slot} both"))?,
    };
    // The kernel has no socket for this segment any more.
    life.send(peer, SYN | ACK, 0)
}

/// Both sides send a SYN, so the program's socket is in SYN_RECV.
fn crossed(life: &mut Lifetime<'_>) -> Step<(u32, usize)> {
    let (slot, peer) = connecting(life)?;
    life.send(peer, SYN, 0)?;
    life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
    Ok((slot, peer))
}

fn crossed_then_reset(life: &mut Lifetime<'_>) -> Step {
    let (slot, peer) = crossed(life)?;
    life.send(peer, RST, 0)?;
    life.run(&format!("connected {slot}"))?;
    Ok(())
}

fn crossed_then_nothing(life: &mut Lifetime<'_>) -> Step {
    crossed(life).map(drop)
}

fn crossed_then_close(life: &mut Lifetime<'_>) -> Step {
    let (slot, peer) = crossed(life)?;
    life.run(&format!("close {slot}"))?;
    life.send(peer, ACK, 0)
}

/// Makes a child in SYN_RECV that has data already. The result is `None` if the kernel ignores the
/// data of the SYN, as with SYN cookies.
fn fast(life: &mut Lifetime<'_>) -> Step<Option<(Listening, usize)>> {
    let listening = life.listen(16)?;
    life.run(&format!("option {} fast-open 16", listening.slot))?;
    let peer = life.peer(listening.address);
    life.send(peer, SYN, 5)?;
    life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
    Ok(life.peers[peer].is_acknowledged().then_some((listening, peer)))
}

fn fast_then_reset(life: &mut Lifetime<'_>) -> Step {
    let Some((listening, peer)) = fast(life)? else { return Ok(()) };
    let slot = life.accept(listening)?;
    life.send(peer, RST, 0)?;
    life.attempt(&format!("receive {slot}"))?.ok();
    Ok(())
}

fn fast_then_nothing(life: &mut Lifetime<'_>) -> Step {
    fast(life).map(drop)
}

fn fast_then_close(life: &mut Lifetime<'_>) -> Step {
    let Some((listening, peer)) = fast(life)? else { return Ok(()) };
    let slot = life.accept(listening)?;
    life.run(&format!("receive {slot}"))?;
    if life.random.once_in(2) {
        life.run(&format!("close {}", listening.slot))?;
    }
    life.run(&format!("close {slot}"))?;
    life.send(peer, ACK, 0)
}

fn listener_again(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(4)?;
    life.half_open(listening)?;
    let slot = listening.slot;
    life.run(&format!("shutdown {slot} both"))?;
    life.run(&format!("listen {slot} 3"))?;
    let port = life.run(&format!("port {slot}"))?;
    let port = u16::try_from(port).expect("the kernel says a port");
    let address = (listening.address.ip(), port).into();
    let peer = life.handshake(Listening { slot, address })?;
    let accepted = life.accept(listening)?;
    life.run(&format!("disconnect {slot}"))?;
    life.run(&format!("close {accepted}"))?;
    life.until(peer, "FIN", Peer::has_fin)
}

fn stray(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(4)?;
    for flags in [RST, FIN, FIN | ACK, ACK, RST | ACK, SYN | FIN, SYN | RST] {
        let peer = life.peer(listening.address);
        life.send(peer, flags, 0)?;
    }
    Ok(())
}

/// The handshake is complete, and the request waits for data that never comes.
fn deferred_for_ever(life: &mut Lifetime<'_>) -> Step {
    let listening = life.listen(4)?;
    life.run(&format!("option {} defer 1", listening.slot))?;
    for _ in 0..=life.random.below(4) {
        life.handshake(listening)?;
    }
    Ok(())
}
