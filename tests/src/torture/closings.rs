//! Ways in which a connection ends.

use super::{
    lifetime::{Connection, Lifetime, Step, in_filter},
    peer::Peer,
};
use crate::{
    traffic::segment::{ACK, FIN, PSH, RST, SYN},
    truth,
};

/// A part of a script that ends a connection.
pub(super) type Closing = fn(&mut Lifetime<'_>, Connection) -> Step;

/// All closings.
pub(super) const CLOSINGS: &[(&str, Closing)] = &[
    ("program first", program_first),
    ("program first, half", half_close),
    ("program first, FIN with the ACK", fin_with_ack),
    ("program first, FIN twice", fin_twice),
    ("program first, data for the orphan", data_for_orphan),
    ("program first, RST for the orphan", reset_of_orphan),
    ("program first, no FIN", orphan_alone),
    ("program first, TIME_WAIT reset", time_wait_reset),
    ("program first, SYN in TIME_WAIT", syn_in_time_wait),
    ("program first, orphan stays full", full_orphan),
    ("program first, orphan reset at once", no_orphan),
    ("program first, no window", no_window),
    ("peer first", peer_first),
    ("peer first, program waits", peer_first_only),
    ("peer first, last ACK missing", no_last_ack),
    ("peer first, RST in LAST_ACK", reset_in_last_ack),
    ("both at once", simultaneous),
    ("both at once, ACK missing", closing_forever),
    ("shutdown of both directions", shutdown_both),
    ("no linger", no_linger),
    ("unread data", unread),
    ("RST of the peer", reset),
    ("disconnect", disconnect),
    ("repair", repair),
    ("destroyed", destroyed),
    ("left open", |_, _| Ok(())),
];

/// The program closes, and the peer has acknowledged the FIN.
fn into_fin_wait2(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("close {slot}"))?;
    life.until(peer, "FIN or RST", |peer| peer.has_fin() || peer.has_reset())?;
    life.send(peer, ACK, 0)
}

fn program_first(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    into_fin_wait2(life, connection)?;
    life.send(connection.peer, FIN | ACK, 0)?;
    await_ack(life, connection.peer)
}

fn half_close(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("shutdown {slot} write"))?;
    life.until(peer, "FIN", Peer::has_fin)?;
    life.send(peer, ACK, 0)?;
    life.send(peer, ACK | PSH, 100)?;
    life.send(peer, FIN | ACK, 0)?;
    await_ack(life, peer)?;
    life.run(&format!("close {slot}"))?;
    Ok(())
}

fn fin_with_ack(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("close {slot}"))?;
    life.until(peer, "FIN or RST", |peer| peer.has_fin() || peer.has_reset())?;
    life.send(peer, FIN | ACK, 0)?;
    await_ack(life, peer)
}

fn fin_twice(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    program_first(life, connection)?;
    let last = life.peers[connection.peer].next.wrapping_sub(1);
    life.send_at(connection.peer, last, FIN | ACK, 0)?;
    life.send_at(connection.peer, last, FIN | ACK, 0)
}

fn data_for_orphan(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    into_fin_wait2(life, connection)?;
    life.send(connection.peer, ACK | PSH, 10)?;
    // Without room for the orphan, the segment can be the last ACK of a handshake with SYN cookies,
    // and the kernel makes a new connection.
    await_ack(life, connection.peer)
}

fn reset_of_orphan(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    into_fin_wait2(life, connection)?;
    life.send(connection.peer, RST, 0)
}

fn orphan_alone(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    into_fin_wait2(life, connection)
}

fn time_wait_reset(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    program_first(life, connection)?;
    life.send(connection.peer, RST, 0)
}

/// A SYN with old numbers does not end the socket. Whether a listener answers a SYN with new
/// numbers depends on the opening.
fn syn_in_time_wait(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    program_first(life, connection)?;
    let peer = connection.peer;
    let next = life.peers[peer].next;
    life.send_at(peer, next.wrapping_sub(100), SYN, 0)?;
    life.send_at(peer, next, ACK | PSH, 10)?;
    life.peers[peer].again();
    life.send(peer, SYN, 0)
}

/// The orphan would stay in FIN_WAIT2 for longer than a minute, so it is no mini socket.
fn full_orphan(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    life.run(&format!("option {} linger2 90", connection.slot))?;
    into_fin_wait2(life, connection)?;
    if life.random.once_in(2) {
        life.send(connection.peer, FIN | ACK, 0)?;
        await_ack(life, connection.peer)?;
    } else {
        // The orphan would outlive the test.
        life.send(connection.peer, RST, 0)?;
    }
    Ok(())
}

/// With a negative time in FIN_WAIT2, close() sends a RST after the FIN was acknowledged.
fn no_orphan(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("option {slot} linger2 4294967295"))?;
    life.run(&format!("shutdown {slot} write"))?;
    life.until(peer, "FIN", Peer::has_fin)?;
    life.send(peer, ACK, 0)?;
    life.run(&format!("close {slot}"))?;
    Ok(())
}

/// The FIN waits behind data for which the peer has no room.
fn no_window(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.peers[peer].window = 0;
    life.send(peer, ACK, 0)?;
    life.run(&format!("send {slot} 100"))?;
    life.run(&format!("close {slot}"))?;
    if life.random.once_in(2) {
        life.send(peer, FIN | ACK, 0)?;
    }
    Ok(())
}

fn peer_first(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.send(peer, FIN | ACK, 0)?;
    await_ack(life, peer)?;
    life.attempt(&format!("receive {slot}"))?.ok();
    if life.random.once_in(3) {
        life.attempt(&format!("send {slot} 10"))?.ok();
    }
    life.run(&format!("close {slot}"))?;
    life.until(peer, "FIN or RST", |peer| peer.has_fin() || peer.has_reset())?;
    life.send(peer, ACK, 0)
}

fn peer_first_only(life: &mut Lifetime<'_>, Connection { peer, .. }: Connection) -> Step {
    life.send(peer, FIN | ACK, 0)?;
    await_ack(life, peer)?;
    let last = life.peers[peer].next.wrapping_sub(1);
    life.send_at(peer, last, FIN | ACK, 0)
}

fn no_last_ack(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.send(peer, FIN | ACK, 0)?;
    await_ack(life, peer)?;
    life.run(&format!("close {slot}"))?;
    life.until(peer, "FIN or RST", |peer| peer.has_fin() || peer.has_reset())
}

fn reset_in_last_ack(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    no_last_ack(life, connection)?;
    life.send(connection.peer, RST, 0)
}

fn closing_forever(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("shutdown {slot} write"))?;
    let before = life.peers[peer].received;
    life.until(peer, "FIN", Peer::has_fin)?;
    // The FIN of the peer crosses the FIN of the program.
    let after = std::mem::replace(&mut life.peers[peer].received, before);
    life.send(peer, FIN | ACK, 0)?;
    life.peers[peer].received = after;
    await_ack(life, peer)
}

fn simultaneous(life: &mut Lifetime<'_>, connection: Connection) -> Step {
    closing_forever(life, connection)?;
    life.send(connection.peer, ACK, 0)
}

fn shutdown_both(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("shutdown {slot} both"))?;
    life.until(peer, "FIN or RST", |peer| peer.has_fin() || peer.has_reset())?;
    life.send(peer, FIN | ACK, 0)?;
    life.run(&format!("close {slot}"))?;
    Ok(())
}

fn no_linger(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("option {slot} linger 0"))?;
    life.run(&format!("close {slot}"))?;
    life.until(peer, "RST", Peer::has_reset)
}

fn unread(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.send(peer, ACK | PSH, 10)?;
    life.until(peer, "ACK", Peer::is_acknowledged)?;
    life.run(&format!("close {slot}"))?;
    life.until(peer, "RST", Peer::has_reset)
}

fn reset(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.send(peer, RST, 0)?;
    if life.random.once_in(2) {
        life.attempt(&format!("receive {slot}"))?.ok();
    }
    Ok(())
}

fn disconnect(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("disconnect {slot}"))?;
    life.until(peer, "RST", Peer::has_reset)
}

/// The socket closes without a packet, as that of a connection which moves to another machine.
fn repair(life: &mut Lifetime<'_>, Connection { slot, .. }: Connection) -> Step {
    life.run(&format!("option {slot} repair 1"))?;
    life.run(&format!("close {slot}"))?;
    Ok(())
}

fn destroyed(life: &mut Lifetime<'_>, Connection { peer, .. }: Connection) -> Step {
    life.step()?;
    let Peer { ours, theirs, .. } = &life.peers[peer];
    let (dst, sport) = (in_filter(ours.ip()), format!(":{}", theirs.port()));
    truth::ss_kill(&["dst", &dst, "sport", "=", &sport]);
    Ok(())
}

fn await_ack(life: &mut Lifetime<'_>, peer: usize) -> Step {
    life.until(peer, "ACK or RST", |peer| peer.is_acknowledged() || peer.has_reset())
}
