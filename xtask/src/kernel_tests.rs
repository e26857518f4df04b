//! How the programs with the kernel tests are built: once, for this machine and for the guests of `cargo xtask vm`.

use std::{path::Path, process::Command};

use crate::process;

/// What guests are. There are no libraries in them.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The folder of the package whose tests guests run too.
pub(crate) const FOLDER: &str = "tests";

/// The package that has the feature `otlp`, and its tests.
pub(crate) const OTLP_PACKAGE: &str = "tcpstate-tests-otlp";

/// Optimised, because the tests make heavy traffic and emulation is slow enough, but in as many codegen units as
/// there is time for. A profile of its own, so that `target/release` keeps the program that users get.
const PROFILE: &[&str] = &[
    "--config=profile.kernel-tests.inherits='release'",
    "--config=profile.kernel-tests.opt-level=1",
    "--config=profile.kernel-tests.lto=false",
    "--config=profile.kernel-tests.codegen-units=16",
    "--profile=kernel-tests",
];

/// For one test after an edit: only the codegen units that the edit changed are built again, and the units are
/// small. An edit of the library took 5 s of processor time so, and 54 s with 16 units. A build from nothing takes
/// a third longer, so the gate builds without.
const AFTER_AN_EDIT: &[&str] = &[
    "--config=profile.kernel-tests.incremental=true",
    "--config=profile.kernel-tests.package.tcpstate.codegen-units=256",
];

/// The command that builds them all. To it belong the programs that they run.
pub(crate) fn cargo(root: &Path) -> Command {
    // Integration tests alone: the unit tests of both packages are built and run elsewhere.
    test_command(root, "*")
}

/// The command that builds one of the programs with tests, soon after an edit.
pub(crate) fn cargo_of(root: &Path, test: &str) -> Command {
    let mut cargo = test_command(root, test);
    cargo.args(AFTER_AN_EDIT);
    cargo
}

/// Both packages are named for each program, so that all are built with the same features, and share their
/// dependencies.
fn test_command(root: &Path, test: &str) -> Command {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", "tcpstate-tests", "--package", "tcpstate", "--test", test]);
    build_alike(&mut cargo);
    cargo
}

/// The command that builds those of the feature `otlp`. Not together with the others: what is built together has the same
/// features.
pub(crate) fn cargo_with_otlp(root: &Path) -> Command {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", OTLP_PACKAGE, "--test", "*"]);
    build_alike(&mut cargo);
    cargo
}

/// Has cargo build as the kernel tests are built: static where guests are possible. What else is built so shares their
/// dependencies.
pub(crate) fn build_alike(cargo: &mut Command) {
    cargo.args(PROFILE);
    if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        // With the target named, build scripts and macros are spared the flag, which they would not survive; and of all
        // the ways to set flags this is the one that no other way overrides.
        cargo
            .args(["--target", STATIC_TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    }
}
