//! Loads the BPF object: the maps, the programs and the iterators.

use std::{
    borrow::Cow,
    ops::RangeInclusive,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData, PerCpuArray},
    sys::{Stats, enable_stats},
};
use tcpstate_common::{
    abi::{Config, FAILED_CONNECT_SLOTS},
    filter::FilterConfig,
};

use super::{
    Error, EventHook, HistogramHook, Netns, Options, OwnerHook, Probe, Rows, TreeHook,
    acceptors::{self, AcceptorHook},
    configuration, events, format, histograms, hooks,
    kallsyms::Symbols,
    kernel::Kernel,
    owners, program_tree,
    programs::{ITERATOR, NAMESPACE_SWEEP, PENDING, SWEEP, iterator_fd, open},
    providers::Providers,
    types::Types,
    walk::Walk,
};
use crate::procfs::sysctl::{self, Range};
use crate::report::{Counted, Minis};

/// The BPF object that `build.rs` provides.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstate.bpf.o"));

impl Probe {
    /// Loads and attaches the programs. `earlier` is the number of sockets that exist already, if
    /// sockets are counted by owner.
    pub(super) fn load(
        options: &Options,
        kernel: Kernel,
        counted: Counted,
        earlier: u32,
    ) -> Result<Self, Error> {
        let statistics = options.statistics.then(measure_runs).transpose()?;
        let types = Types::of_kernel()?;
        // A hook that needs the addresses of the timer handlers, or the tracepoint format, is not
        // attached later if they cannot be read. Without the symbols, no function counts as split.
        let symbols = Symbols::of_kernel().unwrap_or_default();
        let record = format::inet_sock_set_state();
        let has_rows = counted == Counted::All;
        let config =
            configuration::of(options, &kernel, &counted, &types, &symbols, record.as_ref().ok())?;
        let filter = options.event_filter.for_kernel(chosen_ports(&options.netns).as_ref());
        let mut ebpf = load_object(options, &config, &filter.config, &types.ids, earlier)?;
        let (sockets, pending) = walks(&mut ebpf, &types, options, has_rows)?;
        let orphans = sweep(&ebpf, SWEEP, "FIN_WAIT2", "walk the map FIN_WAIT2")?;
        let open_rows = || open_rows(&mut ebpf);
        let (namespaces, rows) = has_rows.then(open_rows).transpose()?.unzip();
        let control = open(&mut ebpf, ".bss")?;
        let touched = open(&mut ebpf, "TOUCHED")?;
        // The kernel's own counters cover one network namespace and both address families.
        let is_pollable = !has_rows && options.family.is_none();
        let mut providers = Providers::new(symbols, options.testing.time_wait_exit, is_pollable);
        let transitions =
            providers.attach_transitions(&mut ebpf, &types, options.transitions, record)?;
        providers.attach(&mut ebpf, &types, Minis::TimeWait, options.time_wait)?;
        providers.attach(&mut ebpf, &types, Minis::SynRecv, options.syn_recv)?;
        events::set_ports(&mut ebpf, &filter)?;
        let features = Features::attach(&mut ebpf, &types, options, &mut providers)?;
        let Features { acceptors, events, histograms, owners, tree, failed_connects } = features;
        Ok(Self {
            cpu_slots: open(&mut ebpf, "CPU_SLOTS")?,
            event_losses: open(&mut ebpf, "EVENT_LOSSES")?,
            failed_connects,
            ebpf,
            counted,
            family: options.family,
            kernel,
            transitions,
            providers,
            orphans,
            events,
            histograms,
            acceptors,
            owner_program: owners.as_ref().map(|owners| owners.program),
            owners,
            tree,
            statistics,
            sockets,
            pending,
            namespaces,
            rows,
            max_namespaces: options.rows(),
            control,
            touched,
        })
    }
}

/// Loads the iterators. Returns the iterator of scans, and the iterator over open connections if
/// the options ask for it.
fn walks(
    ebpf: &mut Ebpf,
    types: &Types,
    options: &Options,
    has_rows: bool,
) -> Result<(Walk, Option<Walk>), Error> {
    let has_pending = options.events.is_some_and(|events| events.pending);
    hooks::load_iterators(ebpf, &types.ids, has_rows, has_pending)?;
    let walk = |program| Walk::over_sockets(iterator_fd(ebpf, program)?);
    Ok((walk(ITERATOR)?, has_pending.then(|| walk(PENDING)).transpose()?))
}

/// The attached programs of the features that track each socket from event to event.
struct Features {
    acceptors: Option<AcceptorHook>,
    events: Option<EventHook>,
    histograms: Option<HistogramHook>,
    owners: Option<OwnerHook>,
    tree: Option<TreeHook>,
    failed_connects: Option<PerCpuArray<MapData, [u64; FAILED_CONNECT_SLOTS]>>,
}

impl Features {
    /// Attaches the programs, and adds their limits to the limits of the providers.
    fn attach(
        ebpf: &mut Ebpf,
        types: &Types,
        options: &Options,
        providers: &mut Providers,
    ) -> Result<Self, Error> {
        let needs_acceptors = options.needs_names() || options.owners.is_some();
        let only = options.events.and_then(|events| events.acceptors);
        let attach = || acceptors::attach(ebpf, types, only);
        let acceptors = needs_acceptors.then(attach).transpose()?;
        let attach = |wanted| events::attach(ebpf, types, wanted);
        let events = options.events.map(attach).transpose()?;
        let is_filtered = !options.event_filter.matches_all();
        let attach = |wanted| histograms::attach(ebpf, types, wanted, is_filtered);
        let histograms = options.histograms.map(attach).transpose()?;
        let is_of_tree = options.event_filter.program.is_some();
        let attach = |wanted| owners::attach(ebpf, types, wanted, is_of_tree);
        let owners = options.owners.as_ref().map(attach).transpose()?;
        let attach = |_| program_tree::attach(ebpf, types);
        let tree = options.event_filter.program.map(attach).transpose()?;
        if histograms.is_some() {
            providers.limits.extend(histograms::limits(providers));
        }
        if let Some(events) = &events {
            let limits = events.limits(providers);
            providers.limits.extend(limits);
        }
        providers.limits.extend(acceptors.as_ref().and_then(|hook| hook.limit.clone()));
        let failed_connects =
            options.failures.then(|| open(ebpf, "FAILED_CONNECTS")).transpose()?;
        Ok(Self { acceptors, events, histograms, owners, tree, failed_connects })
    }
}

/// Makes the kernel measure the run time of every BPF program until the returned descriptor is
/// closed.
pub(super) fn measure_runs() -> Result<OwnedFd, Error> {
    enable_stats(Stats::RunTime).map_err(|error| Error::Statistics(error.io_error))
}

fn load_object(
    options: &Options,
    config: &Config,
    filter: &FilterConfig,
    btf: &Btf,
    earlier: u32,
) -> Result<Ebpf, Error> {
    let object = match &options.testing.object {
        None => Cow::Borrowed(OBJECT),
        Some(bytes) => Cow::Owned(bytes.clone()),
    };
    let log_level = if options.log { aya_log::Level::Trace as u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf)).override_global("CONFIG", config, true);
    loader.override_global("FILTER", filter, true);
    let fin_wait2 = fin_wait2_entries(&options.netns);
    loader.map_max_entries("FIN_WAIT2", fin_wait2);
    if options.by_family {
        // The map has one element for each address family.
        loader.map_max_entries("CPU_SLOTS", 2);
    }
    if options.netns == Netns::All {
        loader.map_max_entries("NAMESPACES", options.rows());
    }
    let capacity = options.sockets();
    acceptors::set_map_sizes(&mut loader, options);
    if let Some(options) = options.events {
        events::set_map_sizes(&mut loader, options, capacity);
    }
    if let Some(options) = options.histograms {
        histograms::set_map_sizes(&mut loader, options, capacity);
    }
    if let Some(options) = &options.owners {
        owners::set_map_sizes(&mut loader, options, earlier, capacity);
        loader.map_max_entries("OWNED_FIN_WAIT2", fin_wait2);
    }
    if options.event_filter.program.is_some() {
        program_tree::set_map_sizes(&mut loader);
    }
    // An object that was built without log lines, or a stripped object, lacks the globals and maps
    // for logging.
    loader.override_global("AYA_LOG_LEVEL", &log_level, false);
    if !options.log {
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    loader.load(&object).map_err(|error| Error::Object(Box::new(error)))
}

/// Returns the kernel's maximum number of time-wait sockets in the network namespace, but at most
/// `BOUND`. Few of the namespace's time-wait sockets are in FIN_WAIT2.
fn fin_wait2_entries(netns: &Netns) -> u32 {
    const BOUND: u32 = 65_536;
    if *netns == Netns::All {
        return BOUND;
    }
    sysctl::value("net.ipv4.tcp_max_tw_buckets").unwrap_or(BOUND).clamp(1, BOUND)
}

/// Returns the range of local ports that the kernel assigns automatically. If all network
/// namespaces are counted, the range is unknown, because each namespace has its own range.
fn chosen_ports(netns: &Netns) -> Option<RangeInclusive<u16>> {
    if *netns == Netns::All {
        return None;
    }
    let Range { low, high } = sysctl::value("net.ipv4.ip_local_port_range")?;
    Some(low..=high)
}

/// Returns the iterator over network namespaces, and the map that contains the counters of each
/// namespace.
fn open_rows(ebpf: &mut Ebpf) -> Result<(Walk, Rows), Error> {
    let walk = sweep(ebpf, NAMESPACE_SWEEP, "NAMESPACES", "walk the map NAMESPACES")?;
    Ok((walk, open(ebpf, "NAMESPACES")?))
}

fn sweep(
    ebpf: &Ebpf,
    program: &'static str,
    map: &'static str,
    action: &'static str,
) -> Result<Walk, Error> {
    let Some(Map::HashMap(data)) = ebpf.map(map) else { return Err(Error::Absent(map)) };
    Walk::over_map(iterator_fd(ebpf, program)?, data.fd().as_fd(), action)
}
