//! The settings from user space: the frozen configuration, the frozen filter, and the control word,
//! which changes while the programs run.

use aya_ebpf::Global;
use tcpstate_common::{
    abi::{Config, Control},
    filter::FilterConfig,
};

/// Reads one field of the configuration. It reads only that field, so that the verifier knows its
/// value.
macro_rules! config {
    ($($field:ident).+) => {{
        let config = $crate::config::config_ptr();
        // SAFETY: `CONFIG` is initialised, lives as long as the program and is frozen before the
        // programs run.
        #[allow(unused_unsafe, reason = "some callers read memory by the field in the same block")]
        let value = unsafe { (&raw const (*config).$($field).+).read_volatile() };
        value
    }};
}
pub(crate) use config;

/// The configuration that user space set before the load.
// SAFETY: a `repr(C)` struct of integers: all zeroes is a value.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(unsafe { core::mem::zeroed() });

/// The event filter that user space set before the load.
#[unsafe(no_mangle)]
static FILTER: Global<FilterConfig> = Global::new(FilterConfig::NONE);

/// State that changes while the programs run.
#[unsafe(no_mangle)]
static mut CONTROL: Control =
    Control { unused: 0, word: 0, reserved: 0, own_net: 0, tcp_protos: [0; 2] };

/// The current control word.
#[inline(always)]
pub(crate) fn control() -> u32 {
    // SAFETY: a 32-bit read. User space replaces one byte of it, so the read is volatile.
    unsafe { (&raw const CONTROL.word).read_volatile() }
}

/// Whether sockets of this namespace and protocol are known to be counted. The namespace is 0 if
/// all namespaces are counted.
#[inline(always)]
pub(crate) fn is_known(net: u64, proto: u64) -> bool {
    // SAFETY: 64-bit reads of memory that programs write with single stores.
    let is_proto = |index| unsafe {
        proto == (&raw const CONTROL.tcp_protos).cast::<u64>().add(index).read_volatile()
    };
    is_own_net(net) && (is_proto(0) || is_proto(1))
}

/// Whether this is known to be the only namespace that is counted. True for 0 if all namespaces are
/// counted.
#[inline(always)]
pub(crate) fn is_own_net(net: u64) -> bool {
    // SAFETY: a 64-bit read of memory that programs write with a single store.
    net == unsafe { (&raw const CONTROL.own_net).read_volatile() }
}

/// Remembers that sockets of this namespace and protocol are counted.
///
/// Both addresses stay valid while this program runs. User space is in the namespace. The protocol
/// of a module is not replaced while sockets of the namespace use it.
#[inline(always)]
pub(crate) fn know(net: u64, proto: u64) {
    // SAFETY: 64-bit reads and stores. A racing program stores an equal value, or a value that a
    // later event stores again.
    unsafe {
        (&raw mut CONTROL.own_net).write_volatile(net);
        let protos = (&raw mut CONTROL.tcp_protos).cast::<u64>();
        let free = if protos.read_volatile() == 0 { protos } else { protos.add(1) };
        if free.read_volatile() == 0 {
            free.write_volatile(proto);
        }
    }
}

/// Address of the configuration; use [`config!`] to read it.
#[inline(always)]
pub(crate) fn config_ptr() -> *const Config {
    (&raw const CONFIG).cast()
}

/// Address of the filter's configuration.
#[inline(always)]
pub(crate) fn filter_ptr() -> *const FilterConfig {
    (&raw const FILTER).cast()
}
