//! Every scripted life of sockets, with the gauges compared at each of its checkpoints: by the hooks that tcpstate
//! chooses, and by each of the others.

use tcpstate::probe::{Error, Options, Provider, Transitions};
use tcpstate_tests::{
    netns::Namespace,
    paths,
    traced::{Traced, options},
};

fn assert_equal_on_every_path(options: &Options) {
    for path in paths::ALL {
        let _namespace = Namespace::enter();
        let mut traced = Traced::with(options);
        let mut checkpoints = 0;
        path.run(&mut |label: &str| {
            traced.assert_equal(label);
            checkpoints += 1;
        });
        println!("{}: equal at {checkpoints} checkpoints", path.name);
    }
}

/// Says why this kernel can't be tested so, if it refuses; only kernels that Debian did not build may.
fn refusal(options: &Options) -> Option<Error> {
    let _namespace = Namespace::enter();
    let error = Traced::try_with(options).err()?;
    assert!(error.is_refusal(), "{error}");
    Some(error)
}

fn mini_sockets_by(provider: Provider) {
    let options = Options { time_wait: Some(provider), syn_recv: Some(provider), ..options() };
    if let Some(error) = refusal(&options) {
        println!("skipped: this kernel refuses: {error}");
        return;
    }
    assert_equal_on_every_path(&options);
}

fn transitions_by(hook: Transitions) {
    assert_equal_on_every_path(&Options { transitions: Some(hook), ..options() });
}

#[test]
fn gauges_equal_the_kernel_at_every_checkpoint_of_every_path() {
    assert_equal_on_every_path(&options());
}

#[test]
fn gauges_by_functions_equal_the_kernel() {
    mini_sockets_by(Provider::Fentry);
}

#[test]
fn gauges_by_timers_equal_the_kernel() {
    mini_sockets_by(Provider::Timer);
}

#[test]
fn gauges_by_raw_tracepoint_equal_the_kernel() {
    transitions_by(Transitions::RawTp);
}

#[test]
fn gauges_by_classic_tracepoint_equal_the_kernel() {
    transitions_by(Transitions::Tracepoint);
}
