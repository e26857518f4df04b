//! Runs several guests in parallel on this machine, and then runs failed tests again.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, Result};

use super::{
    flaky::{self, Failure},
    guest::{Accelerator, Ending, Machine},
    initramfs::{Plan, Write},
    kernels::Kernel,
    modules,
    programs::Programs,
    table::Row,
    verdict::retry_cause,
};

/// Arguments of every test program in a guest. The parser needs `--show-output`, which prints the
/// output of each test after all results. Tests run one at a time.
pub(super) const ARGUMENTS: [&str; 2] = ["--show-output", "--test-threads=1"];

/// The data that all guests share.
pub(super) struct Host<'a> {
    machine: &'a Machine,
    programs: &'a Programs,
    /// The arguments of every test program in a guest.
    arguments: Vec<String>,
    writes: &'a [Write],
    consoles: PathBuf,
    archives: PathBuf,
}

impl<'a> Host<'a> {
    pub(super) fn new(
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

    /// Runs a guest for each kernel. `jobs` guests run in parallel.
    pub(super) fn run(&self, kernels: &[Kernel], jobs: NonZeroUsize) -> Result<Vec<Row>> {
        let waiting = Mutex::new(kernels.iter().enumerate());
        let mut rows = thread::scope(|scope| {
            let work = || -> Result<Vec<(usize, Row)>> {
                let mut rows = Vec::new();
                // Lock the iterator in a separate closure, so that the lock is released before the
                // guest runs.
                let next = || waiting.lock().expect("no thread panics with the lock").next();
                while let Some((index, kernel)) = next() {
                    let name = kernel.abi.line().to_string();
                    rows.push((index, self.guest(kernel, self.plan(), &name)?));
                }
                Ok(rows)
            };
            // The kernel kills QEMU when the thread that started QEMU ends, so each worker thread
            // waits until its QEMU process has ended.
            let workers: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
            let mut rows = Vec::new();
            for worker in workers {
                rows.extend(worker.join().expect("a worker does not panic")?);
            }
            anyhow::Ok(rows)
        })?;
        rows.sort_by_key(|(index, _)| *index);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Runs each failed test again, alone in a new guest. Call this function only after all other
    /// guests have ended.
    pub(super) fn run_failed_again(&self, kernels: &[Kernel], rows: &mut [Row]) -> Result<()> {
        for (kernel, row) in kernels.iter().zip(rows) {
            for failure in flaky::failures(&row.ending.verdict, &row.ending.outcome) {
                let Failure { program, test } = &failure;
                println!("{}: {test} failed; running it again, alone", kernel.abi.line());
                let name = format!("{}.again.{}", kernel.abi.line(), test.replace("::", "."));
                let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
                arguments.extend(["--exact".to_owned(), test.clone()]);
                let programs = self.programs.only(program);
                let plan = Plan { programs: &programs, arguments: &arguments, ..self.plan() };
                let second = self.guest(kernel, plan, &name)?;
                if flaky::clears(&second.ending.verdict, &second.ending.outcome) {
                    let output = row.log.display().to_string();
                    flaky::settle(&mut row.ending.outcome, &failure, &output);
                }
            }
        }
        Ok(())
    }

    /// Returns the plan that all guests share. The shared plan lists no kernel modules, because the
    /// modules depend on the kernel.
    fn plan(&self) -> Plan<'_> {
        Plan {
            modules: &[],
            programs: self.programs,
            arguments: &self.arguments,
            writes: self.writes,
        }
    }

    /// Runs a guest until QEMU exits. `name` is the file name of the guest's archive and log.
    fn guest(&self, kernel: &Kernel, plan: Plan<'_>, name: &str) -> Result<Row> {
        let line = kernel.abi.line();
        let modules = modules::load(&kernel.modules())?;
        let plan = Plan { modules: &modules, ..plan };
        let archive = self.archives.join(format!("{name}.cpio"));
        fs::write(&archive, plan.archive()?)
            .with_context(|| format!("write {}", archive.display()))?;
        let log = self.consoles.join(format!("{name}.log"));
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
            "{} ({lost}); starting the guest again, because {cause}; see {}",
            ending.verdict,
            first.display()
        ));
        // Use emulation for the second guest. If KVM failed to boot a kernel, a second attempt with
        // KVM would fail too.
        let machine = Machine { accelerator: Accelerator::Tcg, ..self.machine.clone() };
        let ending = boot(&machine, &log)?;
        Ok(Row { abi: kernel.abi.clone(), ending, log, is_second: true })
    }
}
