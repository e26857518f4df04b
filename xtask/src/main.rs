//! The developer commands of tcpstate. To build the program, `cargo build` is enough.
//!
//! ```text
//! cargo xtask bpf            build the kernel half, and write its lock file
//! cargo xtask bpf --check    verify that the checked-in object belongs to the sources
//! cargo xtask check          formatting, lints, structure, lock file, tests without root
//! cargo xtask test           all tests on this kernel, most tests on the oldest and newest kernel
//! cargo xtask test NAME      the tests whose name contains NAME
//! cargo xtask test --all     every test on every kernel, every fault, and the long steps
//! cargo xtask test --faults  verify that the tests detect faults in the kernel half
//! cargo xtask fuzz           run each parser of external data on arbitrary bytes
//! cargo xtask vm             the kernel tests on other kernels, in virtual machines
//! cargo xtask dist           man pages and completions; --package builds a Debian package
//! cargo xtask golden         write the expected output of the recordings in the tree
//! cargo xtask bench          compare the cost with other programs; writes docs/BENCHMARKS.md
//! cargo xtask soak           limit how much the memory of tcpstate grows under load
//! ```

mod bench;
mod bpf;
mod check;
mod debian;
mod dist;
mod faults;
mod files;
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

/// The developer commands of tcpstate
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build or check the BPF object and its lock file
    Bpf(bpf::Options),
    /// Run the checks that need neither root nor BPF
    Check,
    /// Install what the tests need, and run the tests
    Test(test::Options),
    /// Run the kernel tests on other kernels, in virtual machines
    Vm(vm::Options),
    /// Run each parser of external data on arbitrary bytes
    Fuzz(fuzz::Options),
    /// Write man pages and completions to target/dist
    Dist(dist::Options),
    /// Replay the checked-in recordings, and write the expected output
    Golden,
    /// Measure the cost of tcpstate, compared with other programs
    Bench(bench::Options),
    /// Run tcpstate under load, and check that its memory does not grow by more than 4 MiB
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
        // The last line on stdout must be the counts of tests, so `test::run` itself prints the
        // errors of the run.
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

/// Returns the root of the workspace in which cargo runs xtask. Another workspace that shares the
/// target directory may have built this xtask.
fn workspace() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().expect("the package lies in the workspace").to_owned()
}
