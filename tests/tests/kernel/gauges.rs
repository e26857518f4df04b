//! Compares the gauges at each checkpoint of every scripted path. The tests use the hooks that
//! tcpstate chooses, and each alternative hook.

use std::{fs, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use tcpstate::{
    probe::{Options, Testing},
    report::{Limit, Minis, Provider, Transitions},
};
use tcpstate_tests::{
    audit,
    netns::Namespace,
    paths,
    traced::{Traced, options, testing},
};

/// The number of tracers that run at the same time, each in its own namespace. Several tracers run
/// together, because most of the time is spent waiting for the kernel's timers.
const TRACERS: usize = 6;

/// Runs every path, or only the paths for a seeded fault.
fn assert_equal_on_every_path(options: &Options) {
    let chosen = &paths::chosen();
    let paths = |tracer| chosen.iter().copied().skip(tracer).step_by(TRACERS);
    assert_equal_on((0..TRACERS.min(chosen.len())).map(|tracer| (paths(tracer), options)));
}

/// Runs each group of paths with its own tracer. A scan is allowed only if the kernel lost events
/// without counting them.
fn assert_equal_on<'a, P: Iterator<Item = &'a paths::Path> + Send>(
    tracers: impl Iterator<Item = (P, &'a Options)>,
) {
    let _namespace = Namespace::enter();
    let mut idle = Traced::start();
    let unexplained: u64 = thread::scope(|scope| {
        let tracers: Vec<_> =
            tracers.map(|(paths, options)| scope.spawn(move || follow(paths, options))).collect();
        let results = tracers.into_iter().map(thread::ScopedJoinHandle::join);
        results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    let lost = idle.uncounted();
    assert!(
        unexplained <= 2 * lost,
        "gauges were off by {unexplained}, and {lost} events were lost"
    );
}

/// Runs the paths. Returns the sum of all gauge errors that the tracer could not explain, in
/// sockets.
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
    let options = by_functions();
    if let Err(error) = Traced::try_with(&options) {
        // Debian's kernels allow programs to attach to kernel functions. On Debian's kernels, the
        // run in virtual machines fails if a test is skipped.
        assert!(error.is_refusal(), "{error}");
        println!("skipped: this kernel lets nobody attach to its functions: {error}");
        return;
    }
    assert_equal_on_every_path(&options);
}

#[test]
fn gauges_by_timers_and_raw_tracepoint_equal_the_kernel() {
    assert_equal_on_every_path(&by_timers());
}

#[test]
fn gauges_by_classic_tracepoint_equal_the_kernel() {
    audit::mount_tracefs();
    assert_equal_on_every_path(&by_classic_tracepoint());
}

/// The test uses all hooks at the same time, because each run waits for a minute.
#[test]
fn gauges_are_right_when_time_wait_expires() {
    audit::mount_tracefs();
    let all = [options(), by_timers(), by_classic_tracepoint()];
    assert_equal_on(all.iter().map(|options| (paths::LONG.iter(), options)));
}

fn by_functions() -> Options {
    let by_functions = Provider::Fentry;
    Options {
        time_wait: Some(by_functions),
        syn_recv: Some(by_functions),
        by_family: true,
        ..options()
    }
}

fn by_timers() -> Options {
    Options {
        transitions: Some(Transitions::RawTp),
        time_wait: Some(Provider::Timer),
        syn_recv: Some(Provider::Timer),
        by_family: true,
        ..options()
    }
}

fn by_classic_tracepoint() -> Options {
    Options { transitions: Some(Transitions::Tracepoint), ..options() }
}

/// Adds a function to `/proc/kallsyms`, for the calling thread and the threads that it starts.
fn add_to_kallsyms(function: &str) {
    const COPY: &str = "/run/kallsyms";
    let kallsyms = fs::read_to_string("/proc/kallsyms").expect("the kernel has symbols");
    let kallsyms = kallsyms + "0000000000000000 t " + function + "\n";
    fs::create_dir_all("/run").expect("root may make the folder");
    unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
    let mount = |source, target, kind, flags| {
        mount::<str, str, str, str>(source, target, kind, flags, None).expect("root may mount");
    };
    mount(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty());
    fs::write(COPY, kallsyms).expect("the tmpfs has space");
    mount(Some(COPY), "/proc/kallsyms", None, MsFlags::MS_BIND);
}

/// On aarch64 since Linux 6.12, gcc splits `__inet_twsk_schedule`. The function that creates
/// time-wait sockets then calls the variant, so a hook on the function misses every birth.
#[test]
fn gauges_are_counted_by_timers_if_the_compiler_split_a_function() {
    const VARIANT: &str = "__inet_twsk_schedule.part.0";
    let _namespace = Namespace::enter();
    let unsplit = Traced::unaudited(&options()).tracer.probe().provider(Minis::SynRecv);
    add_to_kallsyms(VARIANT);
    let mut traced = Traced::unaudited(&options());
    let probe = traced.tracer.probe();
    assert_eq!(probe.provider(Minis::TimeWait), Provider::Timer);
    // The functions of request sockets are not split.
    assert_eq!(probe.provider(Minis::SynRecv), unsplit);
    let is_named = |limit: &Limit| limit.to_string().contains(VARIANT);
    assert!(probe.limits().iter().any(is_named), "{:?}", probe.limits());
    let path = paths::ALL.iter().find(|path| path.name == "active close").expect("it is there");
    path.run(&mut |label: &str| traced.assert_equal(label));
    let error = Traced::try_with(&by_functions()).err().expect("fentry would miss births");
    assert!(error.is_refusal() && error.to_string().contains(VARIANT), "{error}");
}

#[test]
fn gauges_are_right_after_a_dead_hook_is_replaced() {
    let _namespace = Namespace::enter();
    // Since Linux 6.18 the compiler inlines `inet_twsk_free` into its callers. The remaining
    // function `inet_twsk_free` is never called.
    let options = Options {
        testing: Testing { time_wait_exit: Some("inet_twsk_free"), ..testing() },
        ..options()
    };
    let mut traced = Traced::unaudited(&options);
    let release = traced.tracer.probe().kernel.release.clone();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    let is_inlined = (numbers.next(), numbers.next()) >= (Some(6), Some(18));
    if traced.tracer.probe().provider(Minis::TimeWait) != Provider::Fentry || !is_inlined {
        println!(
            "skipped: needs Linux 6.18 or newer that lets us attach to functions; this is {release}"
        );
        return;
    }
    let path =
        paths::ALL.iter().find(|path| path.name == "TIME_WAIT gets RST").expect("it is there");
    let mut replaced = Vec::new();
    while replaced.is_empty() {
        path.run(&mut |_: &str| replaced.extend(traced.snapshot().attached));
    }
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    assert_eq!(replaced[0].hooks.time_wait, Some(Provider::Timer));
    let is_named =
        |limit: &Limit| limit.to_string().contains("its hooks never fired, but such sockets ended");
    assert!(replaced[0].limits.iter().any(is_named), "{replaced:?}");
    path.run(&mut |label: &str| traced.assert_equal(label));
    assert_eq!(traced.unexplained(), 0);
}
