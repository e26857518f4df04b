//! The build of the programs with the kernel tests. The programs are built once, for this machine
//! and for the guests of `cargo xtask vm`.

use std::{path::Path, process::Command};

use crate::process;

/// The target of guests, which have no shared libraries.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The directory of the package whose tests also run in guests.
pub(crate) const FOLDER: &str = "tests";

/// The package that enables the feature `otlp`, and contains its tests.
pub(crate) const OTLP_PACKAGE: &str = "tcpstate-tests-otlp";

/// The programs are optimised, because the tests make heavy traffic and emulation is slow. The
/// number of codegen units keeps the build short. The profile is separate, so that `target/release`
/// keeps the program for users.
const PROFILE: &[&str] = &[
    "--config=profile.kernel-tests.inherits='release'",
    "--config=profile.kernel-tests.opt-level=1",
    "--config=profile.kernel-tests.lto=false",
    "--config=profile.kernel-tests.codegen-units=16",
    "--profile=kernel-tests",
];

/// For one test after an edit: only the changed codegen units are built again, and the units are
/// small. After an edit of the library, the build took 5 s of CPU time, instead of 54 s with 16
/// units. A first build takes a third longer, so `cargo xtask test` does not use these options.
const AFTER_AN_EDIT: &[&str] = &[
    "--config=profile.kernel-tests.incremental=true",
    "--config=profile.kernel-tests.package.tcpstate.codegen-units=256",
];

/// The command that builds all programs with kernel tests. The build also includes the programs
/// that the tests start.
pub(crate) fn cargo(root: &Path) -> Command {
    // Only integration tests. The unit tests of both packages are built and run elsewhere.
    test_command(root, "*")
}

/// The command that builds one of the programs with tests quickly after an edit.
pub(crate) fn cargo_of(root: &Path, test: &str) -> Command {
    let mut cargo = test_command(root, test);
    cargo.args(AFTER_AN_EDIT);
    cargo
}

/// Each command names both packages, so that cargo builds all programs with the same features, and
/// they share their dependencies.
fn test_command(root: &Path, test: &str) -> Command {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", "tcpstate-tests", "--package", "tcpstate", "--test", test]);
    build_alike(&mut cargo);
    cargo
}

/// The command that builds the tests of the feature `otlp`. These tests are built separately,
/// because cargo builds all programs of one command with the same features.
pub(crate) fn cargo_with_otlp(root: &Path) -> Command {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", OTLP_PACKAGE, "--test", "*"]);
    build_alike(&mut cargo);
    cargo
}

/// Makes cargo build like the kernel tests: statically, if this machine can run guests. Other
/// programs that are built this way share the dependencies.
pub(crate) fn build_alike(cargo: &mut Command) {
    cargo.args(PROFILE);
    if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        // With an explicit target, the flag does not apply to build scripts and macros, which would
        // fail with it. `CARGO_ENCODED_RUSTFLAGS` has priority over all other ways to set flags.
        cargo
            .args(["--target", STATIC_TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    }
}
