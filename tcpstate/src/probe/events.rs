//! Attaches the programs that record each transition, if events are enabled.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, RingBuf},
};
use tcpstate_common::{
    abi::{ConnectionOffsets, EventOffsets},
    filter::{FILTER_LOCAL_PORT, FILTER_PORT, FILTER_REMOTE_PORT, PortSet},
};

use super::{
    Error, btf,
    hooks::{self, Hook},
    offsets,
    programs::{map_error, take_map},
    providers::Providers,
    socket_table::Capacity,
    tracking,
    types::Types,
};
use crate::{
    filter::KernelFilter,
    report::{Acceptors, Effect, Limit, Minis, Provider},
};

/// The default size of the ring in bytes. A ring of 8 MiB holds about 58,000 events. At 100,000
/// events per second, the ring fills in 0.6 s.
pub const RING_BYTES: u32 = 8 << 20;
/// The default number of sockets whose state is stored between events. The table for 131,072 full
/// sockets uses 17 MiB. The map of owner hints uses another 13 MiB, and the maps of mini sockets
/// and closers use 20 MiB.
pub const MAX_SOCKETS: u32 = 131_072;

/// The kernel tracepoint that fires when the kernel sends an RST. The BPF program at this
/// tracepoint has the same name.
const RESETS: &str = "tcp_send_reset";

/// The options of recording events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventOptions {
    /// Whether each transition has a record.
    pub lines: bool,
    /// Whether the last transition of a socket has the sum of the socket's connection. If `lines`
    /// is false, only last transitions have records.
    pub connections: bool,
    /// Whether the connections that are open at the end can be read. This needs `connections`.
    pub pending: bool,
    /// The size of the ring in bytes: a power of two, and at least one page.
    pub ring_bytes: u32,
    /// The maximum number of sockets whose state is stored between events.
    pub max_sockets: u32,
    /// The only hook that may be used to find the owners of accepted connections. `None` selects
    /// the best hook.
    pub acceptors: Option<Acceptors>,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            lines: true,
            connections: false,
            pending: false,
            ring_bytes: RING_BYTES,
            max_sockets: MAX_SOCKETS,
            acceptors: None,
        }
    }
}

/// The attached programs that record events.
pub(crate) struct EventHook {
    /// The program that records transitions.
    pub(super) program: &'static str,
    /// The ring to which the programs write events. The field is `None` after the caller has taken
    /// the ring.
    pub(crate) ring: Option<RingBuf<MapData>>,
    /// The size of the ring in bytes.
    pub(crate) ring_bytes: u32,
    /// Whether the last transition of a socket has the sum of its connection.
    pub(crate) has_connections: bool,
    /// Whether other transitions have records too.
    has_lines: bool,
    /// The reason why sent RSTs are not observed. The field is `None` if sent RSTs are observed.
    reset_limit: Option<Limit>,
}

impl EventHook {
    /// Returns the limits of the recorded events.
    pub(super) fn limits(&self, providers: &Providers) -> Vec<Limit> {
        let minis = Minis::BOTH.into_iter().filter(|_| self.has_lines);
        let of_minis = minis.filter_map(|minis| {
            let by = providers.of(minis).provider;
            let effect = match (minis, by) {
                (Minis::TimeWait, Provider::Polled | Provider::None) => Effect::NoTimeWaitLines,
                (Minis::SynRecv, Provider::Polled | Provider::None) => Effect::NoRequestLines,
                (Minis::TimeWait, Provider::Timer) => Effect::LateMoves,
                _ => return None,
            };
            Some(Limit::Events { minis, by, effect })
        });
        of_minis.chain(self.reset_limit.clone()).collect()
    }
}

/// Sets the sizes of the maps that events need.
pub(super) fn set_map_sizes(
    loader: &mut EbpfLoader<'_>,
    options: EventOptions,
    capacity: Capacity,
) {
    loader.map_max_entries("EVENTS", options.ring_bytes);
    capacity.set_for_sockets(loader);
    if options.connections {
        capacity.set(loader, "CONNECTION_SLOTS", "CONNECTION_EXCESS");
    }
}

/// Attaches the program that tracks sockets, and the program that reports sent RSTs. If the program
/// for sent RSTs is missing, some close reasons are wrong.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    types: &Types,
    EventOptions { lines, connections, ring_bytes, .. }: EventOptions,
) -> Result<EventHook, Error> {
    let ring = RingBuf::try_from(take_map(ebpf, "EVENTS")?).map_err(map_error("open", "EVENTS"))?;
    // The program that reports sent RSTs is attached before the program that tracks sockets, so
    // that no RST of a tracked socket is missed.
    let resets = Hook { program: RESETS, target: RESETS };
    let reset_limit = hooks::attach(ebpf, resets, &types.ids)
        .inspect_err(|_| hooks::detach(ebpf, RESETS))
        .err()
        .map(|error| Limit::Resets { reason: error.to_string() });
    let program = tracking::attach(ebpf, types)?;
    Ok(EventHook {
        program,
        ring: Some(ring),
        ring_bytes,
        has_connections: connections,
        has_lines: lines,
        reset_limit,
    })
}

/// Stores the port sets of the filter in a map. The port sets are in a map, because they do not fit
/// in the configuration.
pub(super) fn set_ports(ebpf: &mut Ebpf, filter: &KernelFilter) -> Result<(), Error> {
    if filter.config.conditions & (FILTER_LOCAL_PORT | FILTER_REMOTE_PORT | FILTER_PORT) == 0 {
        return Ok(());
    }
    // Borrow the map instead of taking it, because the descriptor of the map must stay open until
    // the programs are loaded.
    let map = ebpf.map_mut("PORTS").ok_or(Error::Absent("PORTS"))?;
    let mut ports: Array<_, PortSet> = Array::try_from(map).map_err(map_error("open", "PORTS"))?;
    for (index, set) in (0..).zip(&filter.ports) {
        ports.set(index, set, 0).map_err(map_error("update", "PORTS"))?;
    }
    Ok(())
}

/// Returns the offsets of the fields that are needed for the sums of connections.
pub(super) fn connection_offsets(btf: &btf::Btf) -> Result<ConnectionOffsets, btf::Error> {
    // A kernel without MPTCP has no such field.
    let (is_mptcp, is_mptcp_mask) = offsets::bits(btf, "tcp_sock", "is_mptcp").unwrap_or((0, 0));
    Ok(ConnectionOffsets {
        skc_flags: btf.offset("sock_common", "skc_flags", 64)?,
        bytes_acked: btf.offset("tcp_sock", "bytes_acked", 64)?,
        bytes_received: btf.offset("tcp_sock", "bytes_received", 64)?,
        total_retrans: btf.offset("tcp_sock", "total_retrans", 32)?,
        srtt_us: btf.offset("tcp_sock", "srtt_us", 32)?,
        snd_una: btf.offset("tcp_sock", "snd_una", 32)?,
        write_seq: btf.offset("tcp_sock", "write_seq", 32)?,
        is_mptcp,
        is_mptcp_mask,
        reserved: 0,
    })
}

/// Returns the offsets of the fields that are needed for recording events but not for counting.
pub(super) fn offsets(btf: &btf::Btf) -> Result<EventOffsets, btf::Error> {
    let ipv6 = |field| match btf.offset("sock_common", field, 128) {
        Err(btf::Error::NoField { .. }) => Ok(0),
        offset => offset,
    };
    Ok(EventOffsets {
        skc_rcv_saddr: btf.offset("sock_common", "skc_rcv_saddr", 32)?,
        skc_daddr: btf.offset("sock_common", "skc_daddr", 32)?,
        skc_v6_rcv_saddr: ipv6("skc_v6_rcv_saddr")?,
        skc_v6_daddr: ipv6("skc_v6_daddr")?,
        skc_num: btf.offset("sock_common", "skc_num", 16)?,
        skc_dport: btf.offset("sock_common", "skc_dport", 16)?,
        skc_cookie: btf.offset("sock_common", "skc_cookie.counter", 64)?,
        sk_uid: btf.offset("sock", "sk_uid.val", 32)?,
        sk_err: btf.offset("sock", "sk_err", 32)?,
        sk_shutdown: btf.offset("sock", "sk_shutdown", 8)?,
        inet_sport: btf.offset("inet_sock", "inet_sport", 16)?,
        task_flags: btf.offset("task_struct", "flags", 32)?,
        group_leader: btf.offset("task_struct", "group_leader", 64)?,
        comm: btf.field("task_struct", "comm")?.offset_bits / 8,
        start_boottime: btf.offset("task_struct", "start_boottime", 64)?,
        tgid: btf.offset("task_struct", "tgid", 32)?,
        signal: btf.offset("task_struct", "signal", 64)?,
        live: btf.offset("signal_struct", "live.counter", 32)?,
    })
}
