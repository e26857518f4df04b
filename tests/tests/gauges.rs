//! Every scripted life of sockets, with the gauges compared at each of its checkpoints: by the hooks that tcpstate
//! chooses, and by each of the others.

use std::thread;

use tcpstate::probe::{Options, Provider, Transitions};
use tcpstate_tests::{
    audit,
    netns::Namespace,
    paths,
    traced::{Traced, options},
};

/// Most of the time is waiting for the kernel's timers: so many tracers wait at once, each in its namespace.
const TRACERS: usize = 6;

/// Follows every path. No tracer may need a pass, unless the kernel lost events of which it tells no program.
fn assert_equal_on_every_path(options: &Options) {
    let _namespace = Namespace::enter();
    let mut idle = Traced::start();
    let unexplained: u64 = thread::scope(|scope| {
        let tracers: Vec<_> = (0..TRACERS)
            .map(|tracer| {
                let paths = paths::ALL.iter().skip(tracer).step_by(TRACERS);
                scope.spawn(|| follow(paths, options))
            })
            .collect();
        let results = tracers.into_iter().map(thread::ScopedJoinHandle::join);
        results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    let lost = idle.uncounted();
    assert!(
        unexplained <= 2 * lost,
        "gauges were off by {unexplained}, and {lost} events were lost"
    );
}

/// Returns by how many sockets gauges were off for no reason that the tracer knew of.
fn follow<'a>(paths: impl Iterator<Item = &'a paths::Path>, options: &Options) -> u64 {
    let _namespace = Namespace::enter();
    let mut traced = Traced::unaudited(options);
    for path in paths {
        let mut checkpoints = 0;
        path.run(&mut |label: &str| {
            traced.assert_equal(label);
            checkpoints += 1;
        });
        println!("{}: equal at {checkpoints} checkpoints", path.name);
    }
    traced.unexplained()
}

#[test]
fn gauges_equal_the_kernel_at_every_checkpoint_of_every_path() {
    assert_equal_on_every_path(&options());
}

#[test]
fn gauges_by_functions_equal_the_kernel() {
    let by_functions = Provider::Fentry;
    let options =
        Options { time_wait: Some(by_functions), syn_recv: Some(by_functions), ..options() };
    if let Err(error) = Traced::try_with(&options) {
        // Debian's kernels do not refuse; there, the run in virtual machines fails on a skip.
        assert!(error.is_refusal(), "{error}");
        println!("skipped: this kernel lets nobody attach to its functions: {error}");
        return;
    }
    assert_equal_on_every_path(&options);
}

#[test]
fn gauges_by_timers_and_raw_tracepoint_equal_the_kernel() {
    assert_equal_on_every_path(&Options {
        transitions: Some(Transitions::RawTp),
        time_wait: Some(Provider::Timer),
        syn_recv: Some(Provider::Timer),
        ..options()
    });
}

#[test]
fn gauges_by_classic_tracepoint_equal_the_kernel() {
    audit::mount_tracefs();
    assert_equal_on_every_path(&Options {
        transitions: Some(Transitions::Tracepoint),
        ..options()
    });
}
