//! Tests properties of the BPF programs: size, atomic additions, scope, offsets.

use std::{env, fs, path::PathBuf};

use object::{Object as _, ObjectSection as _};
use tcpstate::{
    probe::{Options, Testing},
    tracer::Tracer,
};
use tcpstate_tests::{
    netns::Namespace,
    traced::{Traced, options, testing},
    traffic::{Family, Listener, Load, Style},
    wait,
};

fn jited_bytes(options: &Options) -> u32 {
    let tracer = Tracer::start(options).expect("the tracer starts");
    tracer.probe().transitions_info().expect("our own program").size_jitted()
}

#[test]
fn program_with_log_lines_off_is_not_larger() {
    let Some(path) = env::var_os("TCPSTATE_TEST_OBJECT_NO_LOG") else {
        println!(
            "skipped: no object without log lines; `cargo xtask test` builds one where it finds the tools"
        );
        return;
    };
    let without = fs::read(PathBuf::from(&path)).expect("xtask built it");
    let _namespace = Namespace::enter();
    let off = jited_bytes(&options());
    assert_eq!(
        off,
        jited_bytes(&Options {
            testing: Testing { object: Some(without), ..Testing::default() },
            ..Options::default()
        })
    );
    let on = jited_bytes(&Options { log: true, ..options() });
    assert!(on > off, "log lines are in neither: {on} bytes with them on, {off} with them off");
}

#[test]
fn program_that_can_interrupt_itself_adds_atomically() {
    let _namespace = Namespace::enter();
    for atomic in [true, false] {
        let mut traced = Traced::with(&Options {
            testing: Testing { atomic: Some(atomic), ..testing() },
            ..options()
        });
        let load = Load::start(2, Style::Mixed);
        wait::until("5,003 connections", || load.completed() >= 5003);
        let _ = load.stop();
        traced.assert_equal(if atomic { "atomic" } else { "plain" });
    }
}

/// Returns the number of instructions `lock *(u64 *)(r + off) += r` in a section.
fn atomic_additions(object: &[u8], section: &str) -> usize {
    const STX_ATOMIC_DW: u8 = 0xdb;
    let file = object::File::parse(object).expect("an ELF file");
    let section = file.section_by_name(section).expect("the program is in the object");
    let code = section.data().expect("its code is, too");
    code.chunks_exact(8)
        .filter(|instruction| instruction[0] == STX_ATOMIC_DW && instruction[4..8] == [0; 4])
        .count()
}

#[test]
fn program_holds_an_atomic_addition_for_each_counter_that_needs_one() {
    let object = testing().object.unwrap_or_else(|| {
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tcpstate/bpf/tcpstate.bpf.o"))
            .expect("it is checked in")
    });
    let additions = |section| atomic_additions(&object, section);
    // The program adds to the transition matrix, to `left` and to `entered`. The code that adds to
    // the scan's counters is in functions that are not inlined, where the compiler merges the
    // additions.
    assert!(additions("tp_btf/inet_sock_set_state") >= 3);
    assert!(additions(".text") >= 1);
    // The iterator adds to three counters: the number of visited sockets, the base count, and the
    // number of sockets for which the map was full.
    assert!(additions("iter/tcp") >= 3);
}

#[test]
fn program_counts_its_own_namespace_only() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    let listener = Listener::open(Family::V4);
    let _here = listener.pairs(7);
    Namespace::fresh(|_| {
        let there = Listener::open(Family::V4);
        let _there = there.pairs(11);
    });
    let elsewhere = Namespace::enter();
    let there = Listener::open(Family::V6);
    let _there = there.pairs(13);
    drop(elsewhere);
    traced.assert_equal("with 13 connections elsewhere");
    traced.reconcile();
    traced.assert_equal("after a scan");
}
