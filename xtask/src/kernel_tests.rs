//! Builds the programs that contain the kernel tests. One build serves this machine and the guests
//! of `cargo xtask vm`.

use std::{path::Path, process::Command};

use crate::process;

/// The target triple of static programs. Guests have no shared libraries for test programs.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The directory of the package `tcpstate-tests`, whose tests also run in guests.
pub(crate) const FOLDER: &str = "tests";

/// The package that enables the feature `otlp`, and contains the tests of this feature.
pub(crate) const OTLP_PACKAGE: &str = "tcpstate-tests-otlp";

/// The options of the build profile for kernel tests. The profile optimises the programs, because
/// the tests make heavy traffic and emulation is slow. Many codegen units make the build faster. A
/// separate profile leaves the release program in `target/release` unchanged.
const PROFILE: &[&str] = &[
    "--config=profile.kernel-tests.inherits='release'",
    "--config=profile.kernel-tests.opt-level=1",
    "--config=profile.kernel-tests.lto=false",
    "--config=profile.kernel-tests.codegen-units=16",
    "--profile=kernel-tests",
];

/// The options for a fast build of one test after an edit. With these options, rustc compiles only
/// the changed codegen units, and each codegen unit is small. After an edit of the library, a build
/// with 256 codegen units took 5 s of CPU time, and a build with 16 codegen units took 54 s. The
/// options for a fast build after an edit make the first build a third slower, so `cargo xtask
/// test` does not use these options.
const AFTER_AN_EDIT: &[&str] = &[
    "--config=profile.kernel-tests.incremental=true",
    "--config=profile.kernel-tests.package.tcpstate.codegen-units=256",
];

/// Returns the cargo command that builds all programs with kernel tests, and the programs that the
/// tests start.
pub(crate) fn cargo(root: &Path) -> Command {
    // Build only integration tests. Another step builds and runs the unit tests of both packages.
    test_command(root, "*")
}

/// Returns the cargo command that quickly rebuilds one test program after an edit.
pub(crate) fn cargo_of(root: &Path, test: &str) -> Command {
    let mut cargo = test_command(root, test);
    cargo.args(AFTER_AN_EDIT);
    cargo
}

/// Returns the cargo command that builds test programs. Each command names both packages, so that
/// cargo uses one set of features and builds the dependencies once.
fn test_command(root: &Path, test: &str) -> Command {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", "tcpstate-tests", "--package", "tcpstate", "--test", test]);
    build_alike(&mut cargo);
    cargo
}

/// Returns the cargo command that builds the tests of the feature `otlp`. Cargo builds all programs
/// of one command with the same features, so the feature `otlp` needs a separate command.
pub(crate) fn cargo_with_otlp(root: &Path) -> Command {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", OTLP_PACKAGE, "--test", "*"]);
    build_alike(&mut cargo);
    cargo
}

/// Adds the build options of the kernel tests: static linking, if this machine can run guests.
/// Programs with identical build options share their compiled dependencies.
pub(crate) fn build_alike(cargo: &mut Command) {
    cargo.args(PROFILE);
    if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        // Static linking breaks build scripts and procedural macros. With an explicit target, cargo
        // does not link build scripts and macros statically. `CARGO_ENCODED_RUSTFLAGS` has priority
        // over all other ways to set flags.
        cargo
            .args(["--target", STATIC_TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    }
}
