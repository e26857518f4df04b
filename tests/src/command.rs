//! A program run, as somebody, somewhere, to its end or until a signal.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status, unless a signal ended it.
    pub status: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it said about that.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// If it does not start, or writes what is no text.
pub fn run(command: &mut Command) -> Finished {
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Finished {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A command that is given nothing to read, and whose output is for the test to read.
#[must_use]
pub fn piped(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends a signal to a child.
///
/// # Panics
/// If there is no such process any more.
pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("the child is ours");
}

/// Has the kernel kill the command's process when the thread that starts it is gone, however it ended: one that lives
/// on, such as the main one, should start it.
pub fn bound_to_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) }
}

/// A command that runs `program` as nobody with these capabilities and no other: `["bpf", "perfmon"]`.
#[must_use]
pub fn as_nobody(capabilities: &[&str], program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    if !capabilities.is_empty() {
        let set: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
        let set = set.join(",");
        command.args(["--inh-caps", &set, "--ambient-caps", &set]);
    }
    command.arg(program);
    command
}

/// For [`with_mounts`]: a /proc that shows every process to everyone, whatever the machine hides (`hidepid`).
pub const ALL_PROCESSES: &str = "mount -t proc proc /proc";

/// A command that runs `program` in a mount namespace of its own, after these commands of a shell.
#[must_use]
pub fn with_mounts(mounts: &str, program: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{mounts}\nexec \"$0\" \"$@\"")]);
    command.arg(program.get_program()).args(program.get_args());
    command
}
