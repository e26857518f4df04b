//! Runs programs as a given user in a given environment, until they exit or receive a signal.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit status. The value is `None` if a signal ended the command.
    pub status: Option<i32>,
    /// The output on stdout.
    pub stdout: String,
    /// The output on stderr.
    pub stderr: String,
}

impl From<Output> for Finished {
    /// # Panics
    /// Panics if the output is not UTF-8.
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Runs a command until it exits.
///
/// # Panics
/// Panics if the command does not start, or if its output is not UTF-8.
pub fn run(command: &mut Command) -> Finished {
    command.stdin(Stdio::null()).output().expect("the command starts").into()
}

/// Returns a command with an empty stdin, and with pipes for stdout and stderr.
#[must_use]
pub fn piped(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends a signal to a child process.
///
/// # Panics
/// Panics if the process no longer exists.
pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("the child is ours");
}

/// Makes the kernel kill the command's process when the thread that started it ends. The caller
/// should be a thread that lives long enough, such as the main thread.
pub fn bound_to_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) }
}

/// Returns a command that runs `program` as the user `nobody` with only these capabilities, for
/// example `["bpf", "perfmon"]`.
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

/// Shell commands for [`with_mounts`] that mount a `/proc` that shows every process to every user,
/// even if the machine hides processes (`hidepid`).
pub const ALL_PROCESSES: &str = "mount -t proc proc /proc";

/// Returns a command that runs `program` in a new mount namespace, after the shell commands
/// `mounts`.
#[must_use]
pub fn with_mounts(mounts: &str, program: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{mounts}\nexec \"$0\" \"$@\"")]);
    command.arg(program.get_program()).args(program.get_args());
    command
}
