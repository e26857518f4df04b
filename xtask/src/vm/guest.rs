//! Boots a kernel in QEMU, and monitors the guest until QEMU exits.

use std::{
    fs::File,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    console::{Console, Lines, Port},
    verdict::{Signs, Verdict, judge},
};
use crate::{process, test::libtest::Outcome};

/// How long a crashed kernel may still print messages before QEMU is killed.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The maximum boot time with KVM. If KVM works, a guest boots in much less than the maximum boot
/// time. If this machine is itself a virtual machine, KVM may be unable to boot a guest.
const KVM_PATIENCE: Duration = Duration::from_secs(20);

/// The accelerator that QEMU uses for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accelerator {
    /// Emulation by QEMU: slow, but works on every machine
    Tcg,
    /// Hardware virtualization; may not work if this machine is a virtual machine
    Kvm,
}

/// The virtual machine in which a guest runs.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) qemu: PathBuf,
    pub(crate) accelerator: Accelerator,
    pub(crate) cpus: u32,
    /// The memory of the guest in MiB.
    pub(crate) memory: u32,
    /// Additional words for the command line of the guest's kernel.
    pub(crate) append: Vec<String>,
    pub(crate) timeout: Duration,
}

/// The result of a guest that has ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) verdict: Verdict,
    pub(crate) signs: Signs,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
}

impl Machine {
    /// Runs a guest until QEMU exits. Writes the whole output of the guest to the file `log`.
    /// Passes the lines for the terminal to `show`.
    pub(crate) fn boot(
        &self,
        kernel: &Path,
        initramfs: &Path,
        log: &Path,
        show: &dyn Fn(&str),
    ) -> Result<Ending> {
        let mut command = self.command(kernel, initramfs);
        let mut file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        writeln!(file, "{}", process::describe(&command))?;

        let start = Instant::now();
        let (mut child, messages) = spawn(&mut command)?;
        let mut console = Console::default();
        let mut kernel_lines = Lines::default();
        let mut program_lines = Lines::default();
        let mut deadline = start + self.timeout;
        let mut last_words = None;
        loop {
            let is_booting = self.accelerator == Accelerator::Kvm && !console.signs.is_ready;
            let until = if is_booting { deadline.min(start + KVM_PATIENCE) } else { deadline };
            let left = until.saturating_duration_since(Instant::now());
            // Check the time limit before each message, because a guest that never stops printing
            // always has a message.
            let message = if left.is_zero() {
                Err(RecvTimeoutError::Timeout)
            } else {
                messages.recv_timeout(left)
            };
            match message {
                Ok((port, piece)) => {
                    let lines = match port {
                        Port::Kernel => &mut kernel_lines,
                        Port::Programs => &mut program_lines,
                    };
                    for line in lines.feed(&piece) {
                        writeln!(file, "{line}")?;
                        console.line(port, &line).iter().for_each(|line| show(line));
                    }
                    if console.signs.fatal.is_some() && last_words.is_none() {
                        deadline = deadline.min(Instant::now() + LAST_WORDS);
                        last_words = Some(deadline);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if last_words.is_none() {
                        console.signs.timeout = Some(start.elapsed().as_secs());
                    }
                    let _ = child.kill();
                    break;
                }
            }
        }
        let duration = start.elapsed();
        let watched = Watched { console, kernel_lines, program_lines, file, duration };
        watched.end(&mut child)
    }

    fn command(&self, kernel: &Path, initramfs: &Path) -> Command {
        // Disable the CPU feature `arch-capabilities`. If this machine is itself a virtual machine,
        // KVM may be unable to set the feature's register.
        let (accelerator, cpu) = match self.accelerator {
            Accelerator::Tcg => ("tcg", "max"),
            Accelerator::Kvm => ("kvm", "host,-arch-capabilities"),
        };
        let mut command = process::command(&self.qemu);
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-monitor", "none"])
            .args(["-machine", "q35", "-accel", accelerator, "-cpu", cpu])
            .args(["-smp", &self.cpus.to_string(), "-m", &self.memory.to_string()])
            // The guest's kernel prints to the first serial port. QEMU writes the output of this
            // port to stderr, where QEMU also writes its own messages. The test programs print to
            // the second serial port.
            .args(["-serial", "file:/dev/stderr", "-serial", "stdio"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initramfs);
        // With `panic=-1` the guest's kernel reboots immediately after a panic. With `-no-reboot`
        // QEMU exits when the guest's kernel reboots.
        let mut line = vec!["console=ttyS0", "loglevel=5", "panic=-1"];
        line.extend(self.append.iter().map(String::as_str));
        command.arg("-append").arg(line.join(" ")).stdin(Stdio::null());
        command
    }
}

/// The output of a guest, which is parsed while the guest runs.
struct Watched {
    console: Console,
    kernel_lines: Lines,
    program_lines: Lines,
    /// The file to which the whole output of the guest is written.
    file: File,
    duration: Duration,
}

impl Watched {
    /// Parses the incomplete last lines of the two ports, and computes the verdict on the guest.
    fn end(self, child: &mut Child) -> Result<Ending> {
        let Self { mut console, kernel_lines, program_lines, mut file, duration } = self;
        let status = child.wait().context("wait for QEMU")?;
        console.signs.status = status.code();
        if let Some(rest) = kernel_lines.finish() {
            writeln!(file, "{rest}")?;
            console.line(Port::Kernel, &rest);
        }
        if let Some(rest) = program_lines.finish() {
            writeln!(file, "{rest}")?;
            console.partial(&rest);
        }
        let verdict = judge(&console.signs);
        writeln!(file, "{verdict} after {:.1} s: {status}", duration.as_secs_f64())?;
        let signs = console.signs.clone();
        let outcome = console.finish(verdict.cause());
        Ok(Ending { verdict, signs, outcome, duration })
    }
}

type Messages = mpsc::Receiver<(Port, Vec<u8>)>;

fn spawn(command: &mut Command) -> Result<(Child, Messages)> {
    let (sender, receiver) = mpsc::channel();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().with_context(|| format!("start {}", process::describe(command)))?;
    forward(Port::Kernel, child.stderr.take().context("stderr is piped")?, sender.clone());
    forward(Port::Programs, child.stdout.take().context("stdout is piped")?, sender);
    Ok((child, receiver))
}

fn forward(port: Port, mut from: impl Read + Send + 'static, to: mpsc::Sender<(Port, Vec<u8>)>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.send((port, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
}
