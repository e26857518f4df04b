//! `cargo xtask vm` runs the kernel tests on other kernels, each in a virtual machine.
//!
//! ```text
//! cargo xtask vm                             on 5.10, 6.1, 6.12, and the newest kernel of Debian
//! cargo xtask vm NAME                        only tests whose name contains NAME
//! cargo xtask vm --kernel 6.1 --kernel 6.18  on these kernels
//! cargo xtask vm --list                      list the available kernels
//! ```
//!
//! ```text
//! names -> apt -> kernels -> modules -+
//!                       programs -----+-> initramfs -> guest -> console -> verdict -> flaky
//! ```
//!
//! The kernels and QEMU are Debian packages. The kernels are stored in `~/.cache/tcpstate/vm`, and
//! QEMU is installed if this machine has no QEMU. A guest has no disk and no network. The only
//! programs in a guest are the tests, tcpstate, `ss`, and the first process
//! `tests/src/bin/vm_init.rs`. The output of a guest is stored in `target/vm/consoles/LINE.log`.
//!
//! A failed test runs again, alone, in a new guest. If the test passes in the new guest, the test
//! is listed as flaky and counts as passed. The output of the first guest stays in
//! `target/vm/consoles`. The run fails if more than two tests are flaky. If a guest ends before the
//! tests begin, the guest is started again. Tests on the host are never repeated.

mod apt;
mod console;
mod emulator;
mod flaky;
mod guest;
mod host;
mod initramfs;
mod kernels;
mod left_out;
mod modules;
mod names;
mod programs;
mod table;
mod verdict;

use std::{num::NonZeroUsize, path::Path, time::Duration};

use anyhow::{Result, bail};

use self::{
    guest::{Accelerator, Machine},
    host::Host,
    initramfs::Write,
    kernels::Kernels,
    left_out::LEFT_OUT,
    names::Line,
};
use crate::{debian, test::libtest::Outcome};

/// The default kernels, in addition to the newest kernel. 5.10 is the oldest kernel that tcpstate
/// supports. Kernels 6.1 and 6.12 support other BPF features than the oldest and the newest kernel.
const LINES: &[&str] = &["5.10", "6.1", "6.12"];

/// Options of `cargo xtask vm`. By default all tests run on all default kernels.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only the tests whose name contains this text
    filter: Option<String>,
    /// Skip tests whose name contains this text; repeatable
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// Use the newest kernel of this line, for example 6.12; repeatable
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<Line>,
    /// Whether to use only the oldest and the newest of the default kernels.
    #[arg(skip)]
    only_ends: bool,
    /// List the available kernels and exit
    #[arg(long)]
    list: bool,
    /// Number of guests that run in parallel.
    // On a machine with two CPUs, the guests of `cargo xtask test` took 12 minutes if two guests
    // ran in parallel. Four guests in parallel took 10 minutes, but were so slow that waits of some
    // tests timed out.
    #[arg(long, default_value_t = Self::DEFAULT.jobs)]
    jobs: NonZeroUsize,
    /// CPUs of a guest
    #[arg(long, default_value_t = Self::DEFAULT.cpus)]
    cpus: u32,
    /// Memory of a guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = Self::DEFAULT.memory)]
    memory: u32,
    /// Maximum duration of a guest in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Self::DEFAULT.timeout)]
    timeout: u64,
    /// Accelerator that QEMU uses
    #[arg(long, value_enum, default_value_t = Self::DEFAULT.accel)]
    accel: Accelerator,
    /// Word to add to the kernel's command line; repeatable
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Text to write to a file in /proc or /sys before the tests run; repeatable
    #[arg(long, value_name = "PATH=TEXT")]
    write: Vec<Write>,
}

impl Options {
    const DEFAULT: Self = Self {
        filter: None,
        skip: Vec::new(),
        kernels: Vec::new(),
        only_ends: false,
        list: false,
        jobs: NonZeroUsize::new(2).expect("two is not zero"),
        cpus: 2,
        memory: 1024,
        timeout: 1200,
        accel: Accelerator::Tcg,
        append: Vec::new(),
        write: Vec::new(),
    };
}

/// Runs the guests of `cargo xtask test`. The guests test the BPF programs on the oldest and the
/// newest kernel. If `is_all` is set, every test runs on every default kernel.
pub(crate) fn gate(root: &Path, is_all: bool) -> Result<Outcome> {
    let left_out = if is_all { &[] } else { LEFT_OUT };
    let skip = left_out.iter().map(ToString::to_string).collect();
    // The tests of `cargo xtask test --all` take three times as long as the tests of `cargo xtask
    // test`.
    let timeout = if is_all { 3 * Options::DEFAULT.timeout } else { Options::DEFAULT.timeout };
    run(root, &Options { skip, only_ends: !is_all, timeout, ..Options::DEFAULT })
}

/// Runs the tests on each kernel and prints a table. Returns the test results of all kernels
/// together.
pub(crate) fn run(root: &Path, options: &Options) -> Result<Outcome> {
    if !debian::is_debian() {
        bail!("needs Debian, because it uses Debian's kernels");
    }
    let kernels = Kernels::open()?;
    if options.list {
        print!("{}", table::lines(&kernels.lines()));
        return Ok(Outcome::default());
    }
    let machine = Machine {
        qemu: emulator::provide(&kernels::cache()?)?,
        accelerator: options.accel,
        cpus: options.cpus,
        memory: options.memory,
        append: options.append.clone(),
        timeout: Duration::from_secs(options.timeout),
    };
    let wanted = lines(options, &kernels)?;
    let kernels =
        wanted.into_iter().map(|line| kernels.provide(line)).collect::<Result<Vec<_>>>()?;
    println!("building the static tests");
    let arguments = arguments(options);
    let mut programs = programs::build(root)?;
    programs.retain(&arguments)?;
    let host = Host::new(root, &machine, &programs, arguments, &options.write)?;
    let mut rows = host.run(&kernels, options.jobs)?;
    host.run_failed_again(&kernels, &mut rows)?;
    print!("{}", table::Table(&rows));
    let mut total = Outcome::default();
    for row in rows {
        total.merge(row.into_outcome());
    }
    flaky::limit(&mut total);
    Ok(total)
}

/// Returns the kernel lines to test, such as 6.12. Each kernel line occurs only once in the result,
/// because two guests of one kernel line would write to the same files.
fn lines(options: &Options, kernels: &Kernels) -> Result<Vec<Line>> {
    let mut lines = options.kernels.clone();
    if lines.is_empty() {
        let named = if options.only_ends { &LINES[..1] } else { LINES };
        lines = named.iter().map(|line| line.parse()).collect::<Result<_>>()?;
        lines.extend(kernels.lines().last().map(|(abi, _)| abi.line()));
    }
    lines.sort_unstable();
    lines.dedup();
    Ok(lines)
}

/// Returns the arguments of every test program.
fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = host::ARGUMENTS.map(str::to_owned).to_vec();
    arguments.extend(options.filter.clone());
    arguments.extend(options.skip.iter().map(|name| format!("--skip={name}")));
    arguments
}
