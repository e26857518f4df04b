//! The settings from user space: the frozen configuration, the frozen filter, and the control word,
//! which changes while the programs run.

use aya_ebpf::Global;
use tcpstate_common::{
    abi::{Config, Control},
    filter::FilterConfig,
};

/// Reads one field of the configuration. The macro reads only that field, so that the verifier
/// knows the field's value.
macro_rules! config {
    ($($field:ident).+) => {{
        let config = $crate::config::config_ptr();
        // SAFETY: `CONFIG` is initialised, exists as long as the program and is frozen before the
        // programs run.
        #[allow(unused_unsafe, reason = "some callers read memory by the field in the same block")]
        let value = unsafe { (&raw const (*config).$($field).+).read_volatile() };
        value
    }};
}
pub(crate) use config;

/// The configuration that user space set before the load.
// SAFETY: `Config` is a `repr(C)` struct of integers, so all-zero bytes are a valid value.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(unsafe { core::mem::zeroed() });

/// The event filter that user space set before the load.
#[unsafe(no_mangle)]
static FILTER: Global<FilterConfig> = Global::new(FilterConfig::NONE);

/// The state that changes while the programs run.
#[unsafe(no_mangle)]
static mut CONTROL: Control =
    Control { unused: 0, word: 0, losing: 0, own_net: 0, tcp_protos: [0; 2] };

/// Returns the current control word.
#[inline(always)]
pub(crate) fn control() -> u32 {
    // SAFETY: the pointer is to a field of the static `CONTROL`, which is valid and aligned. The
    // read is volatile, because user space replaces one byte of the word while programs run.
    unsafe { (&raw const CONTROL.word).read_volatile() }
}

/// Returns whether a test makes the programs lose events now.
#[inline(always)]
pub(crate) fn is_losing() -> bool {
    // SAFETY: the pointer is to a field of the static `CONTROL`, which is valid and aligned.
    0 != unsafe { (&raw const CONTROL.losing).read_volatile() }
}

/// Returns whether sockets of this namespace and protocol are known to be counted. The caller
/// passes the namespace 0 if all namespaces are counted.
#[inline(always)]
pub(crate) fn is_known(net: u64, proto: u64) -> bool {
    // SAFETY: the pointers are to aligned 64-bit fields of the static `CONTROL`, which programs
    // write with single stores.
    let is_proto = |index| unsafe {
        proto == (&raw const CONTROL.tcp_protos).cast::<u64>().add(index).read_volatile()
    };
    is_own_net(net) && (is_proto(0) || is_proto(1))
}

/// Returns whether this namespace is known to be the only namespace that is counted. If all
/// namespaces are counted, the caller passes 0 and the result is true.
#[inline(always)]
pub(crate) fn is_own_net(net: u64) -> bool {
    // SAFETY: the pointer is to an aligned 64-bit field of the static `CONTROL`, which programs
    // write with a single store.
    net == unsafe { (&raw const CONTROL.own_net).read_volatile() }
}

/// Remembers that sockets of this namespace and protocol are counted.
///
/// Both addresses stay valid while the programs are loaded. The namespace continues to exist,
/// because the process that loaded the programs is in it. A module's protocol is not replaced while
/// sockets of the namespace use the protocol.
#[inline(always)]
pub(crate) fn know(net: u64, proto: u64) {
    // SAFETY: the pointers are to aligned 64-bit fields of the static `CONTROL`. A racing program
    // stores an equal value, or a value that a later event stores again.
    unsafe {
        (&raw mut CONTROL.own_net).write_volatile(net);
        let protos = (&raw mut CONTROL.tcp_protos).cast::<u64>();
        let free = if protos.read_volatile() == 0 { protos } else { protos.add(1) };
        if free.read_volatile() == 0 {
            free.write_volatile(proto);
        }
    }
}

/// Returns the address of the configuration; use [`config!`] to read the configuration.
#[inline(always)]
pub(crate) fn config_ptr() -> *const Config {
    (&raw const CONFIG).cast()
}

/// Returns the address of the filter's configuration.
#[inline(always)]
pub(crate) fn filter_ptr() -> *const FilterConfig {
    (&raw const FILTER).cast()
}
