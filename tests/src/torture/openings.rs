//! Ways in which a connection becomes ESTABLISHED, and what happens then.

use super::{
    lifetime::{Connection, Lifetime, Step},
    peer::Peer,
};
use crate::traffic::segment::{ACK, FIN, PSH, RST, SYN};

/// A part of a script that makes a connection.
pub(super) type Opening = fn(&mut Lifetime<'_>) -> Step<Connection>;

/// All openings.
pub(super) const OPENINGS: &[(&str, Opening)] = &[
    ("accepted", accepted),
    ("accepted, listener closed", accepted_alone),
    ("accepted when the data came", deferred),
    ("accepted with Fast Open", fast_open),
    ("accepted in TIME_WAIT", reused_by_syn),
    ("connected", connected),
    ("connected with Fast Open", connected_fast),
    ("connected at the second attempt", connected_again),
    ("connected after the wrong ACK", connected_after_wrong_ack),
    ("opened by both", simultaneous),
    ("connected from TIME_WAIT", reused_by_connect),
];

/// A part of a script that uses a connection.
pub(super) type Use = fn(&mut Lifetime<'_>, Connection) -> Step;

/// All uses.
pub(super) const USES: &[(&str, Use)] = &[
    ("nothing", |_, _| Ok(())),
    ("data for the program", receive),
    ("data of the program", send),
    ("data both ways", |life, connection| {
        send(life, connection)?;
        receive(life, connection)
    }),
    ("no window", no_window),
    ("family changed", change_family),
    ("SYN for a connection", syn_again),
    ("RST that does not fit", wrong_reset),
];

fn accepted(life: &mut Lifetime<'_>) -> Step<Connection> {
    let listening = life.listen(16)?;
    let peer = life.handshake(listening)?;
    let slot = life.accept(listening)?;
    Ok(Connection { slot, peer })
}

fn accepted_alone(life: &mut Lifetime<'_>) -> Step<Connection> {
    let listening = life.listen(16)?;
    let peer = life.handshake(listening)?;
    let slot = life.accept(listening)?;
    life.run(&format!("close {}", listening.slot))?;
    Ok(Connection { slot, peer })
}

/// The request stays after the handshake, until data comes.
fn deferred(life: &mut Lifetime<'_>) -> Step<Connection> {
    let listening = life.listen(16)?;
    life.run(&format!("option {} defer 30", listening.slot))?;
    let peer = life.handshake(listening)?;
    if life.random.once_in(3) {
        life.send(peer, ACK, 0)?;
    }
    life.send(peer, ACK | PSH, 5)?;
    let slot = life.accept(listening)?;
    life.run(&format!("receive {slot}"))?;
    Ok(Connection { slot, peer })
}

/// The child is a full socket in SYN_RECV until the last ACK of the handshake.
fn fast_open(life: &mut Lifetime<'_>) -> Step<Connection> {
    let listening = life.listen(16)?;
    life.run(&format!("option {} fast-open 16", listening.slot))?;
    let peer = life.peer(listening.address);
    life.send(peer, SYN, 5)?;
    life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
    if life.peers[peer].is_acknowledged() {
        let slot = life.accept(listening)?;
        life.run(&format!("receive {slot}"))?;
        life.send(peer, ACK, 0)?;
        life.completed.push("Fast Open");
        return Ok(Connection { slot, peer });
    }
    // A kernel that sends SYN cookies ignores the data of a SYN.
    life.peers[peer].next = life.peers[peer].acknowledged;
    life.send(peer, ACK | PSH, 5)?;
    let slot = life.accept(listening)?;
    life.run(&format!("receive {slot}"))?;
    Ok(Connection { slot, peer })
}

/// The program closes first, and a SYN of the peer ends the socket in TIME_WAIT.
fn reused_by_syn(life: &mut Lifetime<'_>) -> Step<Connection> {
    let listening = life.listen(16)?;
    let peer = life.handshake(listening)?;
    let slot = life.accept(listening)?;
    into_time_wait(life, Connection { slot, peer })?;
    life.peers[peer].again();
    life.send(peer, SYN, 0)?;
    life.until(peer, "SYN-ACK from TIME_WAIT", |peer| peer.has_syn_ack)?;
    life.send(peer, ACK, 0)?;
    let slot = life.accept(listening)?;
    Ok(Connection { slot, peer })
}

fn connected(life: &mut Lifetime<'_>) -> Step<Connection> {
    let slot = life.socket()?;
    let (peer, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    finish_connect(life, Connection { slot, peer })
}

/// The SYN of the program carries data, which the peer accepts.
fn connected_fast(life: &mut Lifetime<'_>) -> Step<Connection> {
    let slot = life.socket()?;
    let (peer, to) = life.target();
    life.run(&format!("fast-open {slot} {to} 7"))?;
    finish_connect(life, Connection { slot, peer })
}

/// The program gives up its first attempt, and uses the socket again.
fn connected_again(life: &mut Lifetime<'_>) -> Step<Connection> {
    let slot = life.socket()?;
    let (first, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    life.await_syn(slot, first)?;
    life.run(&format!("disconnect {slot}"))?;
    let (peer, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    finish_connect(life, Connection { slot, peer })
}

/// The first SYN-ACK acknowledges a number that the program has not sent.
fn connected_after_wrong_ack(life: &mut Lifetime<'_>) -> Step<Connection> {
    let slot = life.socket()?;
    let (peer, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    life.await_syn(slot, peer)?;
    let right = life.peers[peer].received;
    life.peers[peer].received = right.wrapping_add(9);
    let sequence = life.peers[peer].next;
    life.send_at(peer, sequence, SYN | ACK, 0)?;
    life.until(peer, "RST", Peer::has_reset)?;
    life.peers[peer].received = right;
    finish_connect(life, Connection { slot, peer })
}

/// Both send a SYN. The program's socket is in SYN_RECV until the last ACK.
fn simultaneous(life: &mut Lifetime<'_>) -> Step<Connection> {
    let slot = life.socket()?;
    let (peer, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    life.await_syn(slot, peer)?;
    life.send(peer, SYN, 0)?;
    life.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
    life.send(peer, ACK, 0)?;
    life.run(&format!("connected {slot}"))?;
    Ok(Connection { slot, peer })
}

/// The program closes first, and connects again with the same addresses, if the kernel allows it.
fn reused_by_connect(life: &mut Lifetime<'_>) -> Step<Connection> {
    let slot = life.socket()?;
    life.run(&format!("option {slot} reuse 1"))?;
    let (peer, to) = life.target();
    life.run(&format!("connect {slot} {to}"))?;
    let connection = finish_connect(life, Connection { slot, peer })?;
    into_time_wait(life, connection)?;
    let slot = life.socket()?;
    life.run(&format!("option {slot} reuse 1"))?;
    let port = life.peers[peer].theirs.port();
    let any = if to.is_ipv4() { "0.0.0.0" } else { "[::]" };
    let bound = life.attempt(&format!("bind {slot} {any}:{port}"))?;
    life.peers[peer].again();
    if bound.is_ok() && life.attempt(&format!("connect {slot} {to}"))?.is_ok() {
        life.completed.push("TIME_WAIT reused by connect");
        return finish_connect(life, Connection { slot, peer });
    }
    // Without timestamps, the kernel refuses to reuse the addresses.
    life.run(&format!("close {slot}"))?;
    connected(life)
}

/// Answers the SYN of the program.
fn finish_connect(life: &mut Lifetime<'_>, connection: Connection) -> Step<Connection> {
    let Connection { slot, peer } = connection;
    life.await_syn(slot, peer)?;
    life.send(peer, SYN | ACK, 0)?;
    life.until(peer, "ACK", Peer::is_acknowledged)?;
    life.run(&format!("connected {slot}"))?;
    Ok(connection)
}

/// The program closes first, then the peer.
fn into_time_wait(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.run(&format!("close {slot}"))?;
    life.until(peer, "FIN", Peer::has_fin)?;
    life.send(peer, FIN | ACK, 0)?;
    // Without room for a socket in TIME_WAIT, the answer can be a RST.
    life.until(peer, "ACK of the FIN", |peer| peer.is_acknowledged() || peer.has_reset())
}

fn receive(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    let bytes = usize::try_from(1 + life.random.below(1000)).expect("it is small");
    life.send(peer, ACK | PSH, bytes)?;
    life.run(&format!("receive {slot}"))?;
    life.until(peer, "ACK", Peer::is_acknowledged)
}

fn send(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    let bytes = 1 + life.random.below(5000);
    let sent = life.run(&format!("send {slot} {bytes}"))?;
    let before = life.peers[peer].bytes;
    let all = before + u32::try_from(sent).expect("it is small");
    // The kernel sends ten segments before the first acknowledgment.
    life.until(peer, "data", |peer| peer.bytes >= all)?;
    life.send(peer, ACK, 0)
}

/// The peer has no room for data for a while, so data waits in the program's socket.
fn no_window(life: &mut Lifetime<'_>, Connection { slot, peer }: Connection) -> Step {
    life.peers[peer].window = 0;
    life.send(peer, ACK, 0)?;
    life.run(&format!("send {slot} 100"))?;
    life.peers[peer].window = 60_000;
    let before = life.peers[peer].bytes;
    life.send(peer, ACK, 0)?;
    life.until(peer, "data", |peer| peer.bytes > before)?;
    life.send(peer, ACK, 0)
}

/// An IPv6 socket with an IPv4 connection becomes an IPv4 socket.
fn change_family(life: &mut Lifetime<'_>, Connection { slot, .. }: Connection) -> Step {
    let result = life.attempt(&format!("option {slot} v4 0"))?;
    if life.is_mapped && result.is_ok() {
        life.completed.push("IPV6_ADDRFORM");
    }
    Ok(())
}

fn syn_again(life: &mut Lifetime<'_>, Connection { peer, .. }: Connection) -> Step {
    let next = life.peers[peer].next;
    life.send_at(peer, next.wrapping_sub(1), SYN, 0)?;
    life.send_at(peer, next, SYN, 0)?;
    life.send_at(peer, next.wrapping_add(1 << 20), SYN, 0)
}

/// A RST within the window must have exactly the next sequence number.
fn wrong_reset(life: &mut Lifetime<'_>, Connection { peer, .. }: Connection) -> Step {
    let next = life.peers[peer].next;
    life.send_at(peer, next.wrapping_add(7), RST, 0)?;
    life.send_at(peer, next.wrapping_sub(7), RST, 0)
}
