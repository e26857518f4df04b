//! What user space tells the programs: the frozen configuration, the frozen filter, and the control word,
//! which changes while the programs run.

use aya_ebpf::Global;
use tcpstate_common::{
    abi::{Config, Control},
    filter::FilterConfig,
};

/// One field of the configuration. A read of the field alone, so that the verifier knows its value.
macro_rules! config {
    ($($field:ident).+) => {{
        let config = $crate::config::config_ptr();
        // SAFETY: `CONFIG` is initialised, lives as long as the program and is frozen before the programs run.
        #[allow(unused_unsafe, reason = "some callers read memory by the field in the same block")]
        let value = unsafe { (&raw const (*config).$($field).+).read_volatile() };
        value
    }};
}
pub(crate) use config;

/// What user space decided before the load.
// SAFETY: a `repr(C)` struct of integers: all zeroes is a value.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(unsafe { core::mem::zeroed() });

/// What events are filtered by, as user space decided before the load.
#[unsafe(no_mangle)]
static FILTER: Global<FilterConfig> = Global::new(FilterConfig::NONE);

/// What changes while the programs run.
#[unsafe(no_mangle)]
static mut CONTROL: Control =
    Control { unused: 0, word: 0, reserved: 0, own_net: 0, tcp_protos: [0; 2] };

/// The control word as it stands.
#[inline(always)]
pub(crate) fn control() -> u32 {
    // SAFETY: a 32-bit read of memory that user space replaces one byte of; volatile, because it changes.
    unsafe { (&raw const CONTROL.word).read_volatile() }
}

/// Whether sockets of this namespace (0: of any) and protocol are known to be counted.
#[inline(always)]
pub(crate) fn is_known(net: u64, proto: u64) -> bool {
    // SAFETY: 64-bit reads of memory that programs write in one piece.
    let is_proto = |index| unsafe {
        proto == (&raw const CONTROL.tcp_protos).cast::<u64>().add(index).read_volatile()
    };
    is_own_net(net) && (is_proto(0) || is_proto(1))
}

/// Whether this is known to be the namespace that is counted; 0 is, where all are.
#[inline(always)]
pub(crate) fn is_own_net(net: u64) -> bool {
    // SAFETY: a 64-bit read of memory that programs write in one piece.
    net == unsafe { (&raw const CONTROL.own_net).read_volatile() }
}

/// Remembers that sockets of this namespace and protocol are counted.
///
/// Both outlive this program: user space is in the namespace, and a module's protocol never becomes another one
/// while sockets of the namespace use it.
#[inline(always)]
pub(crate) fn know(net: u64, proto: u64) {
    // SAFETY: 64-bit reads and stores. A racing program stores the same value, or one that is learnt again.
    unsafe {
        (&raw mut CONTROL.own_net).write_volatile(net);
        let protos = (&raw mut CONTROL.tcp_protos).cast::<u64>();
        let free = if protos.read_volatile() == 0 { protos } else { protos.add(1) };
        if free.read_volatile() == 0 {
            free.write_volatile(proto);
        }
    }
}

/// Where the configuration lies; read it by [`config!`].
#[inline(always)]
pub(crate) fn config_ptr() -> *const Config {
    (&raw const CONFIG).cast()
}

/// Where the filter's configuration lies.
#[inline(always)]
pub(crate) fn filter_ptr() -> *const FilterConfig {
    (&raw const FILTER).cast()
}
