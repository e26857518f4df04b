//! Lists the BPF programs of each provider, and the kernel hook of each program. This module also
//! attaches and detaches the programs.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Program, RawTracePoint, TracePoint},
};

use super::{
    Error, btf,
    programs::{ITERATOR, NAMESPACE_SWEEP, PENDING, SWEEP, program_error, program_mut},
};
use crate::report::{Minis, Provider, Transitions};

/// Returns the program that counts transitions of full sockets.
pub(super) const fn program(by: Transitions) -> &'static str {
    match by {
        Transitions::TpBtf => "inet_sock_set_state",
        Transitions::RawTp => "inet_sock_set_state_raw",
        Transitions::Tracepoint => "inet_sock_set_state_record",
    }
}

/// A BPF program, and the kernel function or tracepoint to which the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) program: &'static str,
    pub(super) target: &'static str,
}

pub(super) const fn hook(program: &'static str, target: &'static str) -> Hook {
    Hook { program, target }
}

/// The kernel function whose return value a BPF program reads. The number of arguments of this
/// function selects the BPF program.
const VERDICT: &str = "tcp_timewait_state_process";

/// Returns the programs of a provider, in the order in which the programs are attached. The
/// programs that observe the creation of sockets are attached last. If the programs for the
/// creation of sockets were attached first, tcpstate could miss the close of a new socket.
pub(super) fn programs(
    minis: Minis,
    provider: Provider,
    types: &btf::Btf,
) -> Result<Vec<Hook>, Error> {
    Ok(match (minis, provider) {
        (Minis::TimeWait, Provider::Fentry) => vec![
            hook("inet_twsk_kill", "inet_twsk_kill"),
            hook("tw_timer_handler", "tw_timer_handler"),
            hook("time_wait_packet", VERDICT),
            hook(verdict(types)?, VERDICT),
            hook("tcp_twsk_unique", "tcp_twsk_unique"),
            hook("tcp_abort", "tcp_abort"),
            hook("inet_twsk_schedule", "__inet_twsk_schedule"),
        ],
        (Minis::SynRecv, Provider::Fentry) => vec![
            hook("inet_csk_reqsk_queue_drop", "__inet_csk_reqsk_queue_drop"),
            hook("inet_ehash_insert", "inet_ehash_insert"),
        ],
        (Minis::TimeWait, Provider::Timer) => vec![
            hook("timer_cancel", "timer_cancel"),
            hook("timer_expire_entry", "timer_expire_entry"),
            hook("timer_start", "timer_start"),
        ],
        (Minis::SynRecv, Provider::Timer) => {
            vec![hook("timer_cancel", "timer_cancel"), hook("timer_start", "timer_start")]
        }
        (_, Provider::Polled | Provider::None) => Vec::new(),
    })
}

pub(super) fn verdict(types: &btf::Btf) -> Result<&'static str, Error> {
    match types.arguments(VERDICT)? {
        3 => Ok("time_wait_verdict_3"),
        4 => Ok("time_wait_verdict_4"),
        5 => Ok("time_wait_verdict_5"),
        arguments => Err(Error::Arguments { function: VERDICT, arguments }),
    }
}

/// Loads and attaches one program.
pub(super) fn attach(ebpf: &mut Ebpf, hook: Hook, btf: &Btf) -> Result<(), Error> {
    let Hook { program: name, target } = hook;
    let program = ebpf.program_mut(name).ok_or(Error::Absent(name))?;
    let load = program_error("load", name);
    match program {
        Program::FEntry(program) => {
            program.load(target, btf).map_err(load)?;
            FEntry::attach(program).map(drop).map_err(program_error("attach", name))
        }
        Program::FExit(program) => {
            program.load(target, btf).map_err(load)?;
            FExit::attach(program).map(drop).map_err(program_error("attach", name))
        }
        Program::BtfTracePoint(program) => {
            program.load(target, btf).map_err(load)?;
            BtfTracePoint::attach(program).map(drop).map_err(program_error("attach", name))
        }
        Program::RawTracePoint(program) => {
            program.load().map_err(load)?;
            RawTracePoint::attach(program, target).map(drop).map_err(program_error("attach", name))
        }
        Program::TracePoint(program) => {
            program.load().map_err(load)?;
            let attached = TracePoint::attach(program, "sock", target);
            attached.map(drop).map_err(program_error("attach", name))
        }
        _ => Err(Error::Absent(name)),
    }
}

/// Returns whether a program is attached. When a program is detached, the program is also unloaded.
pub(super) fn is_attached(ebpf: &Ebpf, program: &str) -> bool {
    ebpf.program(program).is_some_and(|program| program.fd().is_ok())
}

/// If the program is loaded, detaches and unloads the program.
pub(super) fn detach(ebpf: &mut Ebpf, program: &'static str) {
    // Ignore the error. The only possible error is that the program is not loaded.
    let _ = match ebpf.program_mut(program) {
        Some(Program::FEntry(program)) => program.unload(),
        Some(Program::FExit(program)) => program.unload(),
        Some(Program::BtfTracePoint(program)) => program.unload(),
        Some(Program::RawTracePoint(program)) => program.unload(),
        Some(Program::TracePoint(program)) => program.unload(),
        _ => Ok(()),
    };
}

/// Loads the three iterators. The first iterator visits each socket during a scan. The second
/// iterator finds sockets that moved from FIN_WAIT2 to TIME_WAIT without a report from a timer. The
/// third iterator marks the map entries of deleted namespaces.
pub(super) fn load_iterators(
    ebpf: &mut Ebpf,
    btf: &Btf,
    has_rows: bool,
    has_pending: bool,
) -> Result<(), Error> {
    let iterators = [
        (ITERATOR, "tcp", true),
        (SWEEP, "bpf_map_elem", true),
        (NAMESPACE_SWEEP, "bpf_map_elem", has_rows),
        (PENDING, "tcp", has_pending),
    ];
    for (name, kind, _) in iterators.into_iter().filter(|(_, _, is_needed)| *is_needed) {
        let iterator: &mut aya::programs::Iter = program_mut(ebpf, name)?;
        iterator.load(kind, btf).map_err(program_error("load", name))?;
    }
    Ok(())
}
