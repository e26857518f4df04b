//! Runs child processes that end when this process ends. The error of a failed command shows the
//! complete command line.

use std::{
    env,
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::{prctl, signal::Signal};

/// Returns a command. The kernel kills the child process when xtask ends for any reason.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // SAFETY: between fork and exec, the closure makes one system call and allocates no memory, so
    // the closure is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?));
    }
    command
}

/// Returns a command that runs cargo in the workspace. The command does not inherit the environment
/// variables that describe the package xtask. These variables would change the environment of the
/// build scripts, and cargo would rebuild every package.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    scrub(&mut cargo);
    cargo.current_dir(root);
    cargo
}

/// Removes the environment variables that cargo sets for a program that cargo runs.
pub(crate) fn scrub(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
}

/// Runs a command that writes to the stdout and stderr of this process.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", describe(command)))?;
    if !status.success() {
        bail!("{status}: {}", describe(command));
    }
    Ok(())
}

/// Runs a command and returns its stdout. If the command fails, the error contains the stderr of
/// the command.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", describe(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}\n{}", output.status, describe(command), stderr.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", describe(command)))
}

/// Returns the command line as a user would type it in a shell, including the environment variables
/// that were set.
pub(crate) fn describe(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), quoted(value)));
        }
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    // Show the byte 0x1f as text, because terminals do not show this byte. Cargo separates the
    // words of CARGO_ENCODED_RUSTFLAGS by the byte 0x1f.
    let word = word.to_string_lossy().replace('\x1f', "\\x1f");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else if word.contains("\\x1f") {
        format!("$'{}'", word.replace('\'', "\\'"))
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Searches the directories of `PATH` for `program`, and returns its path.
pub(crate) fn find_in_path(program: &str) -> Option<std::path::PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_described_as_typed() {
        let mut command = Command::new("cargo");
        command.args(["build", "it's"]).env("FLAGS", "-C\x1fb").env_remove("GONE");
        assert_eq!(describe(&command), r"FLAGS=$'-C\x1fb' cargo build 'it'\''s'");
    }
}
