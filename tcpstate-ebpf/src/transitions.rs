//! Observes the transitions of full sockets by the tracepoint `sock:inet_sock_set_state`. The
//! kernel calls this tracepoint before each change of a state (`inet_sk_set_state`,
//! `inet_sk_state_store` in `net/ipv4/af_inet.c`). User space attaches one of the three programs
//! for this tracepoint.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};

use crate::{
    access::{Access, Probed, Typed},
    config::config,
    count, failures,
    sock::Sock,
};

/// The counting program of first choice: the verifier knows the types of the arguments.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the pointer is the tracepoint's first argument, a socket that exists while the
    // program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    // The states are integers that are never negative, so all 64 bits of an argument are the
    // number.
    count(sock, ctx.arg(1), ctx.arg(2));
    0
}

/// The counting program of second choice: the arguments are plain numbers.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the pointer is the tracepoint's first argument, a socket that exists while the
    // program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(ctx.arg(0)) };
    count(sock, ctx.arg(1), ctx.arg(2));
    0
}

/// The counting program of third choice: it reads the record that the tracepoint prints. The kernel
/// skips this program whenever a program of its type is running on the CPU (`trace_call_bpf`), so
/// this program misses more events.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state_record(ctx: TracePointContext) -> i32 {
    // SAFETY: the offsets are from the tracepoint's format file, and the helper fails beyond the
    // record.
    let fields = unsafe {
        (
            ctx.read_at::<u64>(config!(record.skaddr) as usize),
            ctx.read_at::<u32>(config!(record.oldstate) as usize),
            ctx.read_at::<u32>(config!(record.newstate) as usize),
        )
    };
    if let (Ok(address), Ok(from), Ok(to)) = fields {
        // SAFETY: the record holds the address of a socket that exists while the program runs.
        let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        count(sock, u64::from(from), u64::from(to));
    }
    0
}

#[inline(always)]
fn count<A: Access>(sock: Sock<A>, from: u64, to: u64) {
    let (from, to) = (from as usize, to as usize);
    // The default configuration has a separate copy of the hot path.
    if config!(is_plain) != 0 {
        if sock.is_counted_in(true, 0) {
            count::transition(sock, from, to, 0);
        }
    } else if sock.is_counted() {
        count::transition(sock, from, to, config!(flags));
        failures::count(sock, from, to);
    }
}
