//! The first process of a virtual machine. The command `cargo xtask vm` boots this process on other
//! kernels to run the integration tests there.
//!
//! When this process starts, no file system is mounted. This process loads the modules of the plan
//! and runs the plan's programs one after another. At the end, this process stops the emulator with
//! a status that says whether all programs succeeded. The output of this process and of the
//! programs goes to the second serial port. The kernel writes to the first serial port, so no line
//! of the second port is cut in two.
//!
//! The modules in `xtask/src/vm/` write the plan and read the following lines:
//!
//! ```text
//! tcpstate-vm: note TEXT             something is missing; the tests show whether it matters
//! tcpstate-vm: ready RELEASE UPTIME  the set-up is finished
//! tcpstate-vm: run NAME
//! tcpstate-vm: end NAME: STATUS
//! tcpstate-vm: verdict pass|fail
//! ```

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        resource::{RLIM_INFINITY, Resource, setrlimit},
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{Pid, dup2_stderr, dup2_stdout},
};

const CONSOLE: &str = "/dev/ttyS1";
/// The I/O port of QEMU's isa-debug-exit device. QEMU exits with `(value << 1) | 1`. The exit
/// status is therefore never 0, and never 1, which is QEMU's own error.
const EXIT_PORT: u16 = 0xf4;
/// The limit on open files that this process sets; the kernel's limit for its first process is 1024
/// or 4096.
const OPEN_FILES: u64 = 1 << 20;
const PASSED: u32 = 0x10;
const FAILED: u32 = 0x11;

/// The file systems to mount, with their mount points. The folder `/tmp` is in memory already and
/// must not be mounted, because the source tree may be in it.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tmpfs", "/run"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("tracefs", "/sys/kernel/tracing"),
    ("debugfs", "/sys/kernel/debug"),
    ("bpf", "/sys/fs/bpf"),
    ("securityfs", "/sys/kernel/security"),
    ("cgroup2", "/sys/fs/cgroup"),
];

fn main() {
    // Until the console is open, errors go to /dev/console, which the kernel has opened for this
    // process.
    note("mount /dev", mount_at("devtmpfs", "/dev"));
    note("open the console", take_console());
    for (kind, path) in MOUNTS {
        note(&format!("mount {path}"), mount_at(kind, path));
    }
    // The I/O port must be opened before the plan runs. The plan may lock the kernel down, and a
    // locked-down kernel lets no process use I/O ports.
    let way_out = open_exit();
    // The value sets the flags IFF_LOOPBACK and IFF_UP. The kernel ignores the other flags, because
    // user space cannot set them.
    note("set lo up", fs::write("/sys/class/net/lo/flags", "0x9"));
    // Before Linux 5.11, maps and programs count as locked memory.
    note(
        "lift the limit on locked memory",
        setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).map_err(io::Error::from),
    );
    note(
        "lift the limit on open files",
        setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES).map_err(io::Error::from),
    );
    let has_passed = fs::read_to_string("/plan").map(|plan| follow(&plan));
    note("read the plan", has_passed.as_ref().map(drop).map_err(|error| error.kind().into()));
    end(has_passed.unwrap_or(false), way_out);
}

/// Executes the plan. Returns whether the plan had a program and all programs succeeded.
fn follow(plan: &str) -> bool {
    let steps: Vec<Vec<&str>> = plan.lines().map(|line| line.split('\t').collect()).collect();
    let mut variables = Vec::new();
    let mut programs = Vec::new();
    for step in &steps {
        match step.as_slice() {
            ["write", path, text] => note(&format!("write {path}"), fs::write(path, text)),
            ["module", path] => note(&format!("load {path}"), load_module(path)),
            ["set", name, value] => variables.push((*name, *value)),
            ["run", name, folder, path, arguments @ ..] => {
                programs.push((*name, *folder, *path, arguments));
            }
            _ => note(&step.join(" "), Err(io::Error::other("no step of a plan"))),
        }
    }
    say(&format!(
        "ready {} {}",
        first_word("/proc/sys/kernel/osrelease"),
        first_word("/proc/uptime")
    ));

    let mut has_passed = !programs.is_empty();
    for (name, folder, path, arguments) in programs {
        say(&format!("run {name}"));
        let mut command = Command::new(path);
        command.args(arguments).current_dir(folder).envs(variables.iter().copied());
        let status = command.stdin(Stdio::null()).status();
        clear();
        has_passed &= status.as_ref().is_ok_and(ExitStatus::success);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        // A program that crashed may have printed half a line, so a line end is printed first.
        println!();
        say(&format!("end {name}: {status}"));
    }
    has_passed
}

fn mount_at(kind: &str, path: &str) -> io::Result<()> {
    fs::create_dir_all(path)?;
    Ok(mount(Some(kind), path, Some(kind), MsFlags::empty(), None::<&str>)?)
}

/// Makes the second serial port the stdout and stderr of this process and of all programs.
fn take_console() -> io::Result<()> {
    let console = File::options().write(true).open(CONSOLE)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    Ok(())
}

fn load_module(path: &str) -> io::Result<()> {
    let module = File::open(path)?;
    // SAFETY: the kernel reads from an open descriptor and from a string that ends with a zero.
    let result =
        unsafe { libc::syscall(libc::SYS_finit_module, module.as_raw_fd(), c"".as_ptr(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends all processes that a program has left behind, so that the next program starts on a clean
/// machine.
fn clear() {
    // The signal goes to all processes except this process.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    // All other processes are children of this process now. The call `waitpid` fails when no child
    // is left.
    while waitpid(None, Some(WaitPidFlag::__WALL)).is_ok() {}
}

fn first_word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().next().unwrap_or("?").to_owned()
}

fn note(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        say(&format!("note {what}: {error}"));
    }
}

fn say(text: &str) {
    println!("tcpstate-vm: {text}");
}

/// Prints the verdict, and ends the machine with this status.
fn end(has_passed: bool, way_out: io::Result<()>) -> ! {
    say(if has_passed { "verdict pass" } else { "verdict fail" });
    let _ = io::stdout().flush();
    // SAFETY: `tcdrain` waits until the port has sent everything, and does not access memory.
    unsafe { libc::tcdrain(libc::STDOUT_FILENO) };
    let status = if has_passed { PASSED } else { FAILED };
    note("end the emulator", way_out.and_then(|()| exit(status)));
    // If a kernel is locked down from its start, no process may use the I/O port. If the port
    // cannot be used, a reboot ends the emulator without a status.
    note("reboot", reboot(RebootMode::RB_AUTOBOOT).map_err(io::Error::from).map(|_| ()));
    // The first process must not exit.
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

/// Requests the right to end the emulator with a status. The file `/dev/port` is not used, because
/// kernels for the cloud do not have it.
#[cfg(target_arch = "x86_64")]
fn open_exit() -> io::Result<()> {
    // SAFETY: the call requests the right to use four ports, and does not access memory.
    let result = unsafe { libc::ioperm(EXIT_PORT.into(), 4, 1) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the emulator with this status.
#[cfg(target_arch = "x86_64")]
fn exit(status: u32) -> io::Result<()> {
    // SAFETY: the caller has the right to use the I/O port. The device behind the I/O port changes
    // no memory and no register.
    unsafe {
        std::arch::asm!("out dx, eax", in("dx") EXIT_PORT, in("eax") status, options(nomem, nostack));
    }
    // The emulator's threads need a moment to end.
    thread::sleep(Duration::from_secs(2));
    Err(io::Error::other("it has no isa-debug-exit"))
}

/// This variant of `open_exit` is for machines other than x86, on which no virtual machine of the
/// tests runs. On machines other than x86, the function only has to compile.
#[cfg(not(target_arch = "x86_64"))]
fn open_exit() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// On machines other than x86, the function only has to compile.
#[cfg(not(target_arch = "x86_64"))]
fn exit(_status: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
