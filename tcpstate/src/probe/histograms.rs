//! Attaches the program that measures durations, if histograms are enabled.

use std::collections::HashSet;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, PerCpuArray, Queue},
};
use tcpstate_common::{
    abi::{FLAG_HISTOGRAMS, FLAGS_BY_SHIFT},
    histogram::{
        By, GROUP_OTHER, GroupKey, Histogram, HistogramSlots, SERVER_PORTS_OF_ELEMENT, SLOTS,
    },
};

use super::{
    Error,
    programs::{map_error, take_map},
    providers::Providers,
    socket_table::Capacity,
    tracking,
    types::Types,
};
use crate::report::{Effect, Limit, Minis, Provider};

/// The default number of sockets whose state is stored until the socket closes. The table for
/// 131,072 full sockets uses 17 MiB. The tables for 131,072 time-wait sockets and 131,072 request
/// sockets use another 23 MiB.
pub const MAX_TIMED: u32 = 131_072;
/// The default number of groups. The histograms of 64 groups use 13 MiB.
pub const MAX_GROUPS: u32 = 64;

/// The options of measuring durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistogramOptions {
    /// The property by which sockets are grouped.
    pub by: Option<By>,
    /// The maximum number of groups.
    pub max_groups: u32,
    /// The maximum number of full sockets. This value is also the maximum number of time-wait
    /// sockets.
    pub max_sockets: u32,
}

impl Default for HistogramOptions {
    fn default() -> Self {
        Self { by: None, max_groups: MAX_GROUPS, max_sockets: MAX_TIMED }
    }
}

/// The attached program that measures durations, and its maps.
pub(crate) struct HistogramHook {
    /// The name of the attached program.
    pub(super) program: &'static str,
    pub(crate) by: Option<By>,
    /// Whether a filter limits which durations are measured.
    pub(crate) is_filtered: bool,
    /// The histograms of all sockets.
    pub(crate) all: PerCpuArray<MapData, Histogram>,
    /// The histograms of each group.
    pub(crate) grouped: Array<MapData, Histogram>,
    /// The map from each group to the group's id number.
    pub(crate) groups: HashMap<MapData, GroupKey, u32>,
    /// The ports on which a process has listened.
    server_ports: Array<MapData, [u8; SERVER_PORTS_OF_ELEMENT]>,
    pub(crate) slots: PerCpuArray<MapData, HistogramSlots>,
    /// The id numbers that no group uses yet.
    _ids: Queue<MapData, u32>,
}

/// The number of ports of an element of the map of ports.
const PORTS: u16 = 8;
const _: () = assert!(PORTS as usize == SERVER_PORTS_OF_ELEMENT);

/// Returns whether sockets are grouped by a port. Ports that connect() chose have no groups of
/// their own.
fn is_by_port(by: Option<By>) -> bool {
    matches!(by, Some(By::LocalPort | By::RemotePort))
}

impl HistogramHook {
    /// Returns whether the programs need the ports of the existing listeners.
    pub(crate) fn needs_listeners(&self) -> bool {
        is_by_port(self.by)
    }

    /// Tells the programs the ports of the existing listeners.
    pub(crate) fn mark_listeners(&mut self, ports: &HashSet<u16>) -> Result<(), Error> {
        for &port in ports {
            let index = u32::from(port / PORTS);
            let element = self.server_ports.get(&index, 0);
            let mut element = element.map_err(map_error("read", "SERVER_PORTS"))?;
            element[usize::from(port % PORTS)] = 1;
            let set = self.server_ports.set(index, element, 0);
            set.map_err(map_error("update", "SERVER_PORTS"))?;
        }
        Ok(())
    }
}

/// Returns the flags of the configuration that enable the measurement of durations.
pub(super) fn flags(options: Option<HistogramOptions>) -> u32 {
    let Some(HistogramOptions { by, .. }) = options else { return 0 };
    FLAG_HISTOGRAMS | by.map_or(0, |by| by as u32) << FLAGS_BY_SHIFT
}

/// Sets the sizes of the maps that durations need.
pub(super) fn set_map_sizes(
    loader: &mut EbpfLoader<'_>,
    options: HistogramOptions,
    capacity: Capacity,
) {
    let HistogramOptions { by, max_groups, .. } = options;
    let of_group = 2 * SLOTS;
    if by.is_none() {
        loader.map_max_entries("HISTOGRAMS", of_group);
    } else {
        // The map has one more element, for the group `other`.
        let groups = max_groups + u32::from(is_by_port(by));
        loader.map_max_entries("GROUPED", (groups + 1) * of_group);
        loader.map_max_entries("GROUPS", groups);
        loader.map_max_entries("GROUP_IDS", max_groups);
    }
    if is_by_port(by) {
        loader.map_max_entries("SERVER_PORTS", (1 << 16) / u32::from(PORTS));
    }
    capacity.set_for_sockets(loader);
    capacity.set(loader, "MINI_SLOTS", "MINI_OVERFLOW");
    capacity.set(loader, "REQUEST_SLOTS", "REQUEST_EXCESS");
}

/// Returns one limit for each kind of mini sockets of which the active provider cannot measure all
/// durations.
pub(super) fn limits(providers: &Providers) -> Vec<Limit> {
    let effect = |minis| match (minis, providers.of(minis).provider) {
        (_, Provider::Fentry) => None,
        (Minis::TimeWait, Provider::Timer) => Some(Effect::UnknownMoves),
        (Minis::SynRecv, Provider::Timer) => Some(Effect::UntimedDrops),
        (Minis::TimeWait, _) => Some(Effect::UntimedTimeWait),
        (Minis::SynRecv, _) => Some(Effect::UntimedRequests),
    };
    Minis::BOTH.into_iter().filter_map(effect).map(Limit::Durations).collect()
}

/// Attaches the program that tracks sockets, and opens the maps of durations.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    types: &Types,
    options: HistogramOptions,
    is_filtered: bool,
) -> Result<HistogramHook, Error> {
    let mut ids =
        Queue::try_from(take_map(ebpf, "GROUP_IDS")?).map_err(map_error("open", "GROUP_IDS"))?;
    if options.by.is_some() {
        for id in GROUP_OTHER + 1..=options.max_groups {
            ids.push(id, 0).map_err(map_error("update", "GROUP_IDS"))?;
        }
    }
    let mut groups: HashMap<MapData, GroupKey, u32> =
        HashMap::try_from(take_map(ebpf, "GROUPS")?).map_err(map_error("open", "GROUPS"))?;
    if is_by_port(options.by) {
        // The group of the ports that connect() chose always has room.
        let inserted = groups.insert(GroupKey::default(), options.max_groups + 1, 0);
        inserted.map_err(map_error("update", "GROUPS"))?;
    }
    Ok(HistogramHook {
        program: tracking::attach(ebpf, types)?,
        by: options.by,
        is_filtered,
        all: PerCpuArray::try_from(take_map(ebpf, "HISTOGRAMS")?)
            .map_err(map_error("open", "HISTOGRAMS"))?,
        grouped: Array::try_from(take_map(ebpf, "GROUPED")?)
            .map_err(map_error("open", "GROUPED"))?,
        groups,
        server_ports: Array::try_from(take_map(ebpf, "SERVER_PORTS")?)
            .map_err(map_error("open", "SERVER_PORTS"))?,
        slots: PerCpuArray::try_from(take_map(ebpf, "HISTOGRAM_SLOTS")?)
            .map_err(map_error("open", "HISTOGRAM_SLOTS"))?,
        _ids: ids,
    })
}
