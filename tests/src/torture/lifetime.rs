//! One lifetime: a program with sockets, the peers of its connections, and the moment of its death.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use super::{app::App, peer::Peer};
use crate::{
    random::Random,
    traffic::{
        Family, Tun, Wire,
        segment::{ACK, RST, SYN, Segment},
    },
    truth,
    wait::patience,
};

/// The longest wait for a segment of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first port of the peers.
const FIRST_PORT: u16 = 10_000;

/// The reason why a script ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The moment of death has come.
    Killed,
    /// The kernel did not do what the script expects.
    Failed(String),
}

/// The result of a step of a script.
pub(super) type Step<T = ()> = Result<T, Stop>;

/// The way in which a lifetime ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// The program closes each of its sockets, and continues to run.
    Closes,
    /// The program exits, and the kernel closes its sockets.
    Exits,
    /// The program is killed by a signal.
    Killed,
    /// The peers do not answer any more. The program keeps its sockets.
    Silence,
    /// The peers reset their connections.
    Reset,
    /// `ss -K` destroys the sockets.
    Destroyed,
}

impl Death {
    const ALL: [Self; 6] =
        [Self::Closes, Self::Exits, Self::Killed, Self::Silence, Self::Reset, Self::Destroyed];
}

/// The behaviour of the peers after the death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    Silent,
    Acknowledge,
    Reset,
}

/// A listening socket of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening {
    pub(super) slot: u32,
    /// The address to which the peers connect.
    pub(super) address: SocketAddr,
}

/// A connection: the program's socket, and the index of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) slot: u32,
    pub(super) peer: usize,
}

/// A lifetime.
pub(super) struct Lifetime<'a> {
    pub(super) random: Random,
    /// The family of the packets.
    pub(super) family: Family,
    /// Whether the program uses IPv6 sockets for the IPv4 packets.
    pub(super) is_mapped: bool,
    pub(super) app: App,
    pub(super) peers: Vec<Peer>,
    /// The steps until now.
    pub(super) log: Vec<String>,
    /// The parts of the script that have run to their ends.
    pub(super) completed: Vec<&'static str>,
    wire: &'a Wire,
    inbox: Receiver<Segment>,
    address: IpAddr,
    steps: u64,
    dies_at: Option<u64>,
    death: Death,
    slots: u32,
}

impl<'a> Lifetime<'a> {
    pub(super) fn new(number: u64, mut random: Random, app: App, wire: &'a Wire) -> Self {
        /// The number of steps of a long script.
        const STEPS: u64 = 24;
        let family = random.pick(&Family::BOTH);
        let is_mapped = family == Family::V4 && random.once_in(3);
        let dies_at = random.once_in(2).then(|| 1 + random.below(STEPS));
        let death = random.pick(&Death::ALL);
        let address = Tun::peer(family, number);
        let inbox = wire.register(&[address]);
        let head = format!(
            "lifetime {number}: {family}, mapped {is_mapped}, dies at {dies_at:?}, {death:?}"
        );
        Self {
            random,
            family,
            is_mapped,
            app,
            peers: Vec::new(),
            log: vec![head],
            completed: Vec::new(),
            wire,
            inbox,
            address,
            steps: 0,
            dies_at,
            death,
            slots: 0,
        }
    }

    /// Counts a step. The result is an error if the lifetime ends before this step.
    pub(super) fn step(&mut self) -> Step {
        self.steps += 1;
        if self.dies_at == Some(self.steps) { Err(Stop::Killed) } else { Ok(()) }
    }

    /// Makes the program execute a command, which may fail.
    pub(super) fn attempt(&mut self, command: &str) -> Step<Result<u64, i32>> {
        self.step()?;
        let result = self.app.run(command);
        self.log.push(format!("{command}: {result:?}"));
        Ok(result)
    }

    /// Makes the program execute a command, which must succeed.
    pub(super) fn run(&mut self, command: &str) -> Step<u64> {
        self.attempt(command)?.map_err(|code| Stop::Failed(format!("{command}: error {code}")))
    }

    /// Returns the number of the program's next socket.
    pub(super) fn slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots
    }

    /// Creates a socket of the family that the program uses.
    pub(super) fn socket(&mut self) -> Step<u32> {
        let slot = self.slot();
        let is_v6 = self.family == Family::V6 || self.is_mapped;
        self.run(&format!("socket {slot} {}", if is_v6 { 6 } else { 4 }))?;
        Ok(slot)
    }

    /// Creates a listener, on the address of the device or on all addresses.
    pub(super) fn listen(&mut self, backlog: u32) -> Step<Listening> {
        let slot = self.socket()?;
        let ours = Tun::address(self.family);
        let any: IpAddr = match self.family {
            Family::V4 if !self.is_mapped => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        let address = if self.is_mapped || self.random.once_in(2) { any } else { ours };
        self.run(&format!("bind {slot} {}", SocketAddr::new(address, 0)))?;
        self.run(&format!("listen {slot} {backlog}"))?;
        let port = self.run(&format!("port {slot}"))?;
        let port = u16::try_from(port).expect("the kernel says a port");
        Ok(Listening { slot, address: (ours, port).into() })
    }

    /// Creates a peer with a port of its own.
    pub(super) fn peer(&mut self, theirs: SocketAddr) -> usize {
        let index = self.peers.len();
        let port = FIRST_PORT + u16::try_from(index).expect("a life has few connections");
        let first = u32::try_from(self.random.below(1 << 32)).expect("it has 32 bits");
        let timestamps = self.random.once_in(2);
        self.peers.push(Peer::new((self.address, port).into(), theirs, first, timestamps));
        index
    }

    /// Sends the peer's next segment.
    pub(super) fn send(&mut self, peer: usize, flags: u8, bytes: usize) -> Step {
        self.step()?;
        let segment = self.peers[peer].segment(flags, bytes);
        self.put(&segment);
        Ok(())
    }

    /// Sends a segment with another sequence number than the next.
    pub(super) fn send_at(&mut self, peer: usize, sequence: u32, flags: u8, bytes: usize) -> Step {
        self.step()?;
        let segment = self.peers[peer].segment_at(sequence, flags, bytes);
        self.put(&segment);
        Ok(())
    }

    /// Sends a segment that the script has made.
    pub(super) fn put(&mut self, segment: &Segment) {
        self.log.push(format!("{segment:?}"));
        self.wire.send(segment);
    }

    /// Waits until the condition holds for a peer.
    pub(super) fn until(
        &mut self,
        peer: usize,
        what: &str,
        condition: impl Fn(&Peer) -> bool,
    ) -> Step {
        let began = Instant::now();
        while !condition(&self.peers[peer]) {
            let left = patience(PATIENCE).saturating_sub(began.elapsed());
            let Ok(segment) = self.inbox.recv_timeout(left) else {
                return Err(Stop::Failed(format!("no {what}: {:?}", self.peers[peer])));
            };
            self.take(&segment);
        }
        Ok(())
    }

    fn take(&mut self, segment: &Segment) -> Option<usize> {
        self.log.push(format!("  {segment:?}"));
        let index = self.peers.iter().position(|peer| peer.matches(segment))?;
        self.peers[index].take(segment);
        Some(index)
    }

    /// Runs a script, and ends the lifetime in its way.
    pub(super) fn live(&mut self, script: impl FnOnce(&mut Self) -> Step) -> Result<(), String> {
        match script(self) {
            Ok(()) => self.log.push("the script is over".to_owned()),
            Err(Stop::Killed) => {}
            Err(Stop::Failed(cause)) => return Err(cause),
        }
        self.log.push(format!("death: {:?}", self.death));
        let manners = self.random.pick(&[Manners::Silent, Manners::Acknowledge, Manners::Reset]);
        match self.death {
            Death::Closes => {
                let _ = self.app.run("close-all");
            }
            Death::Exits => self.app.exit(),
            Death::Killed => self.app.kill(),
            Death::Silence => {
                self.wire.forget(&[self.address]);
                return Ok(());
            }
            Death::Reset => self.reset_all(),
            Death::Destroyed => truth::ss_kill(&["dst", &in_filter(self.address)]),
        }
        self.behave(manners);
        self.wire.forget(&[self.address]);
        Ok(())
    }

    fn reset_all(&mut self) {
        for index in 0..self.peers.len() {
            let segment = self.peers[index].segment(RST | ACK, 0);
            self.put(&segment);
        }
    }

    /// Answers the segments that the kernel sends because of the death.
    fn behave(&mut self, manners: Manners) {
        /// The kernel sends the segments within this time, unless it waits for a timer.
        const SOON: Duration = Duration::from_millis(10);
        loop {
            let segment = match self.inbox.recv_timeout(SOON) {
                Ok(segment) => segment,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            };
            let Some(peer) = self.take(&segment) else { continue };
            if segment.has(RST) {
                continue;
            }
            let flags = match manners {
                Manners::Silent => continue,
                // An acknowledgment of each empty acknowledgment would never end.
                Manners::Acknowledge if segment.end() == segment.sequence => continue,
                Manners::Acknowledge => ACK,
                Manners::Reset => RST,
            };
            let answer = self.peers[peer].segment(flags, 0);
            self.put(&answer);
        }
    }
}

/// Returns an address as `ss` reads it in a filter.
pub(super) fn in_filter(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A handshake that a peer begins.
impl Lifetime<'_> {
    /// Sends the peer's SYN, and waits for the SYN-ACK.
    pub(super) fn half_open(&mut self, listening: Listening) -> Step<usize> {
        let peer = self.peer(listening.address);
        self.send(peer, SYN, 0)?;
        self.until(peer, "SYN-ACK", |peer| peer.has_syn_ack)?;
        Ok(peer)
    }

    /// Makes a handshake with the listener, and does not accept the connection.
    pub(super) fn handshake(&mut self, listening: Listening) -> Step<usize> {
        let peer = self.half_open(listening)?;
        self.send(peer, ACK, 0)?;
        Ok(peer)
    }

    /// Accepts a connection.
    pub(super) fn accept(&mut self, listening: Listening) -> Step<u32> {
        let slot = self.slot();
        self.run(&format!("accept {} {slot}", listening.slot))?;
        Ok(slot)
    }

    /// Returns a peer for a connect of the program, and the address for the program's socket. The
    /// peer does not know the program's port.
    pub(super) fn target(&mut self) -> (usize, SocketAddr) {
        let unknown = SocketAddr::new(Tun::address(self.family), 0);
        let peer = self.peer(unknown);
        let SocketAddr::V4(address) = self.peers[peer].ours else {
            return (peer, self.peers[peer].ours);
        };
        let mapped = SocketAddr::from((address.ip().to_ipv6_mapped(), address.port()));
        (peer, if self.is_mapped { mapped } else { address.into() })
    }

    /// Waits for the SYN of a connect.
    pub(super) fn await_syn(&mut self, slot: u32, peer: usize) -> Step {
        let port = self.run(&format!("port {slot}"))?;
        self.peers[peer].theirs.set_port(u16::try_from(port).expect("the kernel says a port"));
        self.until(peer, "SYN", Peer::has_syn)
    }
}
