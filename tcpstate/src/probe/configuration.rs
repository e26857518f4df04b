//! Builds [`Config`], the constants of the BPF programs. The BPF programs cannot change these
//! constants. The verifier knows the values of the constants.

use tcpstate_common::{
    abi::{
        Config, ConnectionOffsets, EventOffsets, FLAG_ATOMIC, FLAG_CONNECTIONS, FLAG_COOKIES,
        FLAG_DROP, FLAG_DROP_TRACKED, FLAG_EVENTS, FLAG_FAILURES, FLAG_FAMILIES, FLAG_LINES,
        FLAG_LOG, FLAG_MAKE_COOKIES, FLAG_NAMESPACES, FLAG_TYPED_TASKS, OwnerOffsets, PidConfig,
        RecordOffsets, is_plain,
    },
    histogram::By,
};

use super::{
    Error, Options, OwnerOptions, acceptors, events, histograms, kallsyms::Symbols, kernel::Kernel,
    offsets, options::SeededLosses, owners, types::Types,
};
use crate::report::{Counted, Family};

/// Returns the configuration of the BPF programs for the given kernel, network namespace and
/// options.
pub(super) fn of(
    options: &Options,
    kernel: &Kernel,
    counted: &Counted,
    types: &Types,
    symbols: &Symbols,
    record: Option<&RecordOffsets>,
) -> Result<Config, Error> {
    let (tcp_tw_rst, tcp_tw_syn) = offsets::verdicts(&types.fields)?;
    let mut offsets = offsets::sockets(&types.fields)?;
    let mut flags = flags(options, kernel);
    let has_rows = *counted == Counted::All;
    if has_rows {
        flags |= FLAG_NAMESPACES;
    }
    let by = options.histograms.and_then(|options| options.by);
    let owners = options.owners.as_ref();
    let needs_identity =
        has_rows || by == Some(By::Netns) || owners.is_some_and(OwnerOptions::needs_namespaces);
    if needs_identity && offsets::namespaces(&types.fields, &mut offsets)? {
        flags |= FLAG_COOKIES;
    }
    let netns = counted.inode();
    let family = options.family.map_or(0, Family::number);
    Ok(Config {
        tw_timer_handler: symbols.tw_timer_handler,
        reqsk_timer_handler: symbols.reqsk_timer_handler,
        drop_one_in: options.testing.drop_one_in,
        flags,
        netns,
        family,
        tcp_tw_rst,
        tcp_tw_syn,
        slot_shift: options.sockets().slot_shift(),
        is_plain: is_plain(flags, netns, family).into(),
        owner_keys: owners.map_or(0, OwnerOptions::bits),
        reserved: 0,
        offsets,
        minis: offsets::minis(&types.fields)?,
        record: record.copied().unwrap_or_default(),
        events: if options.is_tracking() || options.failures {
            events::offsets(&types.fields)?
        } else {
            EventOffsets::default()
        },
        owners: if options.needs_owners() {
            acceptors::offsets(&types.fields)?
        } else {
            OwnerOffsets::default()
        },
        connections: connection_offsets(options, types)?,
        pids: if options.needs_owners() {
            acceptors::pids(&types.fields)
        } else {
            PidConfig::default()
        },
        losses: options.testing.losses.map(SeededLosses::config).unwrap_or_default(),
    })
}

fn connection_offsets(options: &Options, types: &Types) -> Result<ConnectionOffsets, Error> {
    if options.events.is_some_and(|events| events.connections) {
        Ok(events::connection_offsets(&types.fields)?)
    } else {
        Ok(ConnectionOffsets::default())
    }
}

fn flags(options: &Options, kernel: &Kernel) -> u32 {
    let is_atomic =
        options.testing.atomic.unwrap_or_else(|| kernel.programs_interrupt_themselves());
    let has_events = options.events.is_some();
    let drops_one_in_n = options.testing.drop_one_in != 0 && !options.testing.drop_durations;
    let drops = drops_one_in_n || options.testing.losses.is_some_and(SeededLosses::has_transitions);
    let flags = [
        (is_atomic, FLAG_ATOMIC),
        (options.log, FLAG_LOG),
        (drops, FLAG_DROP),
        (options.testing.drop_durations, FLAG_DROP_TRACKED),
        (has_events, FLAG_EVENTS),
        (options.events.is_some_and(|events| events.lines), FLAG_LINES),
        (options.events.is_some_and(|events| events.connections), FLAG_CONNECTIONS),
        (has_events && kernel.gives_cookies(), FLAG_MAKE_COOKIES),
        (options.by_family, FLAG_FAMILIES),
        (options.failures, FLAG_FAILURES),
        (options.owners.is_some() && kernel.has_typed_tasks(), FLAG_TYPED_TASKS),
    ]
    .into_iter()
    .filter_map(|(is_set, flag)| is_set.then_some(flag))
    .sum::<u32>();
    flags | histograms::flags(options.histograms) | owners::flags(options.owners.as_ref())
}
