//! The developer commands. A user of tcpstate needs none of them: `cargo build` works without.
//!
//! ```text
//! cargo xtask bpf            build the kernel half, and write its lock file
//! cargo xtask bpf --check    does the object that is checked in come from the sources?
//! cargo xtask check          within three minutes: formatting, lints, structure, lock file, tests without root
//! cargo xtask test           the gate: tests, with all set-up, on this kernel, the oldest and the newest
//! cargo xtask test NAME      the tests whose name contains NAME
//! cargo xtask test --all     every test on every kernel, every fault, and what takes long
//! cargo xtask test --faults  do the tests notice faults seeded into the kernel half?
//! cargo xtask fuzz           any bytes at all for what reads text and bytes from outside
//! cargo xtask vm             the integration tests on other kernels, in virtual machines
//! cargo xtask dist           man pages and completions, for packages; --package makes one for Debian
//! cargo xtask golden         what the recordings of the tree show, written anew
//! cargo xtask bench          what all that costs, beside what people use today; writes docs/BENCHMARKS.md
//! cargo xtask soak           does tcpstate serve stay as it is, for ten minutes or as many as --minutes says?
//! ```

mod bench;
mod bpf;
mod check;
mod debian;
mod dist;
mod faults;
mod fuzz;
mod golden;
mod kernel_tests;
mod linker;
mod lock;
mod object;
mod privilege;
mod process;
mod prometheus;
mod soak;
mod sources;
mod test;
mod toolchain;
mod vm;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// The developer commands of tcpstate.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the BPF object and its lock file, or check them.
    Bpf(bpf::Options),
    /// Check what needs neither root nor the kernel: formatting, lints, structure, unit tests, views.
    Check,
    /// Run the tests, after any set-up that they need.
    Test(test::Options),
    /// Run the integration tests on other kernels, in virtual machines.
    Vm(vm::Options),
    /// Try what reads text and bytes from outside with any bytes at all.
    Fuzz(fuzz::Options),
    /// Write man pages and completions to target/dist.
    Dist(dist::Options),
    /// Write anew what the recordings of the tree are expected to show.
    Golden,
    /// Measure what tcpstate costs, on this machine and kernel, beside what people use today.
    Bench(bench::Options),
    /// Run tcpstate serve for minutes under load, and see that it does not grow.
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let root = workspace();
    let result = match options.command {
        Command::Bpf(options) => bpf::run(&root, &options).map(|()| true),
        Command::Dist(options) => dist::run(&root, &options).map(|()| true),
        Command::Golden => golden::run(&root).map(|()| true),
        Command::Bench(options) => bench::run(&root, &options).map(|()| true),
        Command::Soak(options) => soak::run(&root, &options).map(|()| true),
        Command::Fuzz(options) => fuzz::run(&root, &options),
        Command::Check => Ok(check::run(&root)),
        // Its last line on stdout is the count of tests, so it prints its own errors before.
        Command::Test(options) => Ok(test::run(&root, &options)),
        Command::Vm(options) => vm::run(&root, &options).map(|outcome| {
            println!("\n{outcome}");
            outcome.failed.is_empty()
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The workspace that cargo runs us in; the one that we were built in may be another that shares its target folder.
fn workspace() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().expect("the package lies in the workspace").to_owned()
}
