//! This program contains all fuzz targets. libFuzzer mutates inputs that reached new code. A target
//! may allocate only a limited amount of memory for one input. `cargo xtask fuzz` builds this
//! program and sets the environment variable that names the target.
#![no_main]

mod memory;

use std::{env, panic, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use tcpstate::fuzz::Target;

/// The environment variable that names the fuzz target.
const VARIABLE: &str = "TCPSTATE_FUZZ_TARGET";

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(init: choose(), |input: &[u8]| {
    let target = TARGET.get().expect("the target was chosen at the start");
    memory::limited(input.len(), || (target.run)(input));
});

fn choose() {
    let name = env::var(VARIABLE).unwrap_or_default();
    let target = Target::named(&name).unwrap_or_else(|| panic!("{VARIABLE}={name} is no target"));
    TARGET.get_or_init(|| target);
    // Do not count the memory of the panic report, because a backtrace may need any amount.
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| memory::unlimited(|| report(panic))));
}
