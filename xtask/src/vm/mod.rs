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
//!                       programs -----+-> initramfs -> guest -> console -> verdict
//! ```
//!
//! Everything is Debian's: the kernels, which are kept in `~/.cache/tcpstate/vm`, and QEMU, which is installed if it
//! is missing. There is no disk and no network in a guest, nor any program but the tests and their first process,
//! `tests/src/bin/vm_init.rs`. What a guest printed is in `target/vm/consoles/LINE.log`.
//!
//! A test that fails is never tried again; a guest that was lost before its tests began is, once.

mod apt;
mod console;
mod emulator;
mod guest;
mod initramfs;
mod kernels;
mod modules;
mod names;
mod programs;
mod table;
mod verdict;

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::{
    guest::{Accelerator, Ending, Machine},
    initramfs::{Plan, Write},
    kernels::{Kernel, Kernels},
    names::Line,
    programs::Programs,
    table::Row,
    verdict::retry_cause,
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

/// What the gate leaves to `cargo xtask vm` by hand, for want of time.
const LEFT_OUT: &[&str] = &[
    // These ask the kernel without BPF.
    "count_",
    "doctor_",
    "truths_agree",
    "paths_do_not_mind",
    "load_leaves_what",
    "idle_connections_are",
    "a_namespace_is",
    "a_sysctl_is",
    // These are about what the tool does with what the same programs say.
    "load_is_verified",
    "load_makes_auto",
    "load_with_events_lost_in_silence",
    "load_of_ten_million",
    "namespaces_without_room",
    // A condition of the same programs, and the same rows in larger numbers.
    "families_",
    "namespaces_by_the_hundred",
    "namespaces_gone_by_the_hundred",
    // Each takes as long as all others of its kind, and does little in the kernel that those do not.
    "events_that_pass_a_filter",
    "hist_that_is_filtered_has_the_durations",
    "hist_of_sockets_held_for_known_times",
    "hist_by_each_grouping",
    "hist_with_more_groups",
    "hist_agrees_with_the_matrix_and_with_the_events",
];

/// The tests of everything that is done in the kernel, on each line that is taken if none is named.
pub(crate) fn gate(root: &Path) -> Result<Outcome> {
    let skip = LEFT_OUT.iter().map(ToString::to_string).collect();
    run(root, &Options { skip, ..Options::DEFAULT })
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
    let rows = host.run(&kernels, options.jobs)?;
    print!("{}", table::Table(&rows));
    let mut total = Outcome::default();
    for row in rows {
        total.merge(row.into_outcome());
    }
    Ok(total)
}

/// Each once: two guests of a line would write to the same files.
fn lines(options: &Options, kernels: &Kernels) -> Result<Vec<Line>> {
    let mut lines = options.kernels.clone();
    if lines.is_empty() {
        lines = LINES.iter().map(|line| line.parse()).collect::<Result<_>>()?;
        lines.extend(kernels.lines().last().map(|(abi, _)| abi.line()));
    }
    lines.sort_unstable();
    lines.dedup();
    Ok(lines)
}

/// What every test program is told.
fn arguments(options: &Options) -> Vec<String> {
    // In sections after the results, as the parser of both kinds of runs expects.
    let mut arguments = vec!["--show-output".to_owned(), "--test-threads=1".to_owned()];
    arguments.extend(options.filter.clone());
    arguments.extend(options.skip.iter().map(|name| format!("--skip={name}")));
    arguments
}

/// Where guests run, and what all of them share.
struct Host<'a> {
    machine: &'a Machine,
    programs: &'a Programs,
    /// What every test program is told.
    arguments: Vec<String>,
    writes: &'a [Write],
    consoles: PathBuf,
    archives: PathBuf,
}

impl<'a> Host<'a> {
    fn new(
        root: &Path,
        machine: &'a Machine,
        programs: &'a Programs,
        arguments: Vec<String>,
        writes: &'a [Write],
    ) -> Result<Self> {
        let folder = |name| -> Result<PathBuf> {
            let path = root.join("target/vm").join(name);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            machine,
            programs,
            arguments,
            writes,
            consoles: folder("consoles")?,
            archives: folder("initramfs")?,
        })
    }

    /// Runs a guest for each kernel, in order, `jobs` at a time.
    fn run(&self, kernels: &[Kernel], jobs: NonZeroUsize) -> Result<Vec<Row>> {
        let waiting = Mutex::new(kernels.iter().enumerate());
        let mut rows = thread::scope(|scope| {
            let work = || -> Result<Vec<(usize, Row)>> {
                let mut rows = Vec::new();
                // A statement of its own, so that the lock is not held while the guest runs.
                let next = || waiting.lock().expect("nothing panics while it waits").next();
                while let Some((index, kernel)) = next() {
                    rows.push((index, self.guest(kernel)?));
                }
                Ok(rows)
            };
            // QEMU ends with the thread that started it; these live until it has ended.
            let workers: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
            let mut rows = Vec::new();
            for worker in workers {
                rows.extend(worker.join().expect("a worker returns its errors")?);
            }
            anyhow::Ok(rows)
        })?;
        rows.sort_by_key(|(index, _)| *index);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn guest(&self, kernel: &Kernel) -> Result<Row> {
        let line = kernel.abi.line();
        let modules = modules::load(&kernel.modules())?;
        let plan = Plan {
            modules: &modules,
            programs: self.programs,
            arguments: &self.arguments,
            writes: self.writes,
        };
        let archive = self.archives.join(format!("{line}.cpio"));
        fs::write(&archive, plan.archive()?)
            .with_context(|| format!("write {}", archive.display()))?;
        let log = self.consoles.join(format!("{line}.log"));
        let show = |text: &str| println!("{}", format!("{line:<5}| {text}").trim_end());
        let boot = |machine: &Machine, log: &Path| -> Result<Ending> {
            machine.boot(&kernel.image(), &archive, log, &show)
        };

        let ending = boot(self.machine, &log)?;
        let Some(cause) = retry_cause(&ending.signs) else {
            return Ok(Row { abi: kernel.abi.clone(), ending, log, is_second: false });
        };
        let first = log.with_extension("first.log");
        fs::rename(&log, &first).with_context(|| format!("rename to {}", first.display()))?;
        let lost = ending.verdict.cause().unwrap_or_default();
        show(&format!(
            "{} ({lost}), and once more, for {cause}; see {}",
            ending.verdict,
            first.display()
        ));
        // Hardware that does not get a kernel up will not the next time.
        let machine = Machine { accelerator: Accelerator::Tcg, ..self.machine.clone() };
        let ending = boot(&machine, &log)?;
        Ok(Row { abi: kernel.abi.clone(), ending, log, is_second: true })
    }
}
