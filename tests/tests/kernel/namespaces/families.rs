//! Tests counting one family of sockets separately.

use tcpstate::{
    probe::Options,
    report::{Limit, Provider},
};
use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    paths,
    traced::{Traced, options},
};

use super::{all, by_each_provider, follow_paths};

#[test]
fn families_equal_the_kernel_on_every_path() {
    const TRACERS: usize = 6;
    for family in tcpstate::report::Family::BOTH {
        let variants = by_each_provider(&Options { family: Some(family), ..options() });
        follow_paths(TRACERS, |tracer| variants[tracer % variants.len()].clone());
    }
}

#[test]
fn families_add_up_to_all_of_the_namespace() {
    let _namespace = Namespace::enter();
    let dual_stack = paths::ALL.iter().find(|path| path.name == "dual-stack listener");
    let [mut v4, mut v6] = tcpstate::report::Family::BOTH
        .map(|family| Traced::unaudited(&Options { family: Some(family), ..options() }));
    let mut both = Traced::unaudited(&options());
    dual_stack.expect("it is there").run(&mut |label: &str| {
        for traced in [&mut v4, &mut v6, &mut both] {
            traced.assert_equal(label);
        }
        let [of_v4, of_v6, of_both] =
            [&mut v4, &mut v6, &mut both].map(|traced| traced.snapshot().states);
        for (slot, state) in State::GAUGES.into_iter().enumerate() {
            let sum = of_v4[slot].current.zip(of_v6[slot].current).map(|(v4, v6)| v4 + v6);
            assert_eq!(sum, of_both[slot].current, "{label}: {state}");
        }
        let [time_wait, ..] = [v4.snapshot().time_wait];
        assert_eq!(time_wait.overflows, None, "the kernel's counter is of both families");
    });
}

#[test]
fn families_and_namespaces_leave_polled_values_unknown() {
    let _namespace = Namespace::enter();
    for options in [all(), Options { family: Some(tcpstate::report::Family::V6), ..options() }] {
        let options = Options { time_wait: Some(Provider::Polled), ..options };
        let mut traced = Traced::unaudited(&options);
        let snapshot = traced.snapshot();
        assert_eq!((snapshot.time_wait.sockets, snapshot.time_wait.entries), (None, None));
        let limits = traced.tracer.start_report().attached.limits;
        let says_why = |limit: &Limit| {
            limit
                .to_string()
                .contains("time_wait: none, because polled: cannot poll the counters of the kernel")
        };
        assert!(limits.iter().any(says_why), "{limits:?}");
    }
}
