//! `cargo xtask vm`: the integration tests on other kernels, each in a virtual machine of its own.
//!
//! ```text
//! cargo xtask vm                             on 5.10, 6.1, 6.12, and the newest that Debian offers
//! cargo xtask vm NAME                        only tests whose name contains NAME
//! cargo xtask vm --kernel 6.1 --kernel 6.18  on these
//! cargo xtask vm --list                      which there are
//! ```
//!
//! ```text
//! names -> apt -> kernels -> modules -+
//!                       programs -----+-> initramfs -> guest -> console -> verdict -> flaky
//! ```
//!
//! Everything is Debian's: the kernels, which are kept in `~/.cache/tcpstate/vm`, and QEMU, which is installed if it
//! is missing. There is no disk and no network in a guest, nor any program but the tests and their first process,
//! `tests/src/bin/vm_init.rs`. What a guest printed is in `target/vm/consoles/LINE.log`.
//!
//! A test that fails is tried once more, alone, in a fresh guest. If it passes there, it is listed as flaky, and
//! counts as passed; what the first guest printed stays in `target/vm/consoles`. More than two flaky tests in a
//! run fail the run. A guest that was lost before its tests began is started once more too. Tests on the host are
//! never tried again.

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

/// Which kernels, besides the newest, if none is named: the oldest that tcpstate supports, and those between whose
/// BPF differs.
const LINES: &[&str] = &["5.10", "6.1", "6.12"];

/// Which tests to run, on what. By default all, on all of the lines.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Not the tests whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// A line of kernels, like 6.12, of which the newest is taken; may be given several times.
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<Line>,
    /// Only the oldest of the lines and the newest, if none is named.
    #[arg(skip)]
    only_ends: bool,
    /// Show the lines that there are, and do nothing.
    #[arg(long)]
    list: bool,
    /// How many guests run at a time.
    // On two processors, the gate's guests took 12 minutes two at a time and 10 four at a time, too slow then for some
    // tests' waits.
    #[arg(long, default_value_t = Self::DEFAULT.jobs)]
    jobs: NonZeroUsize,
    /// Processors of a guest.
    #[arg(long, default_value_t = Self::DEFAULT.cpus)]
    cpus: u32,
    /// Memory of a guest.
    #[arg(long, value_name = "MIB", default_value_t = Self::DEFAULT.memory)]
    memory: u32,
    /// Seconds that a guest may take.
    #[arg(long, value_name = "SECONDS", default_value_t = Self::DEFAULT.timeout)]
    timeout: u64,
    /// What runs a guest's instructions.
    #[arg(long, value_enum, default_value_t = Self::DEFAULT.accel)]
    accel: Accelerator,
    /// A word for the kernels' command line; may be given several times.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Text for a file of the kernel's, before the tests run; may be given several times.
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

/// The tests of everything that is done in the kernel, on the oldest line and the newest; or, if `is_all`, every
/// test on every line.
pub(crate) fn gate(root: &Path, is_all: bool) -> Result<Outcome> {
    let left_out = if is_all { &[] } else { LEFT_OUT };
    let skip = left_out.iter().map(ToString::to_string).collect();
    // All tests take three times as long as those of the gate.
    let timeout = if is_all { 3 * Options::DEFAULT.timeout } else { Options::DEFAULT.timeout };
    run(root, &Options { skip, only_ends: !is_all, timeout, ..Options::DEFAULT })
}

/// Runs the tests on each kernel, prints a table, and returns what came of them all.
pub(crate) fn run(root: &Path, options: &Options) -> Result<Outcome> {
    if !debian::is_debian() {
        bail!("needs Debian, whose kernels it takes");
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
    println!("building the tests, static");
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

/// Each once: two guests of a line would write to the same files.
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

/// What every test program is told.
fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = host::ARGUMENTS.map(str::to_owned).to_vec();
    arguments.extend(options.filter.clone());
    arguments.extend(options.skip.iter().map(|name| format!("--skip={name}")));
    arguments
}
