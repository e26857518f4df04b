//! Decides how xtask runs commands that need root: directly, with `sudo`, or not at all.

use std::{
    ffi::OsString,
    io::{IsTerminal as _, stdin},
    path::Path,
    process::Command,
};

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::process;

/// How xtask can run a command as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// This process is root.
    Root,
    /// This process can use `sudo`.
    Sudo,
    /// This process cannot run commands as root.
    None,
}

impl Privilege {
    /// Determines the privilege of this process. `sudo` is usable if `sudo` needs no password, or
    /// if `sudo` can ask for the password on a terminal.
    pub(crate) fn current() -> Self {
        if geteuid().is_root() {
            return Self::Root;
        }
        let may_ask = stdin().is_terminal();
        if process::find_in_path("sudo").is_some()
            && (may_ask || process::read(process::command("sudo").args(["-n", "true"])).is_ok())
        {
            return Self::Sudo;
        }
        Self::None
    }

    /// Returns a command that runs `program` as root with these environment variables. The
    /// environment variables are passed as arguments of env(1), because `sudo` removes environment
    /// variables.
    pub(crate) fn command(
        self,
        program: &Path,
        variables: &[(OsString, OsString)],
    ) -> Result<Command> {
        match self {
            Self::Root => {
                let mut command = process::command(program);
                command.envs(variables.iter().map(|(name, value)| (name, value)));
                Ok(command)
            }
            Self::Sudo => {
                let mut command = process::command("sudo");
                command.args(["--", "env"]);
                for (name, value) in variables {
                    let mut assignment = name.clone();
                    assignment.push("=");
                    assignment.push(value);
                    command.arg(assignment);
                }
                command.arg(program);
                Ok(command)
            }
            Self::None => bail!("needs root, and sudo is not usable"),
        }
    }

    /// Kills a child process that [`Self::command`] started.
    pub(crate) fn kill(self, child: &mut std::process::Child) {
        // This process cannot send a signal to sudo directly, because sudo runs as root. A second
        // sudo sends the signal, and the first sudo forwards the signal to its command.
        if self == Self::Sudo {
            let id = child.id().to_string();
            let _ = process::read(process::command("sudo").args(["-n", "kill", "-TERM", &id]));
        } else {
            let _ = child.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_passed_through_sudo() {
        let variables = [("OBJECT".into(), "a.o".into())];
        let text = |privilege: Privilege| {
            privilege
                .command(Path::new("tests"), &variables)
                .map(|command| process::describe(&command))
                .ok()
        };
        assert_eq!(text(Privilege::Root).as_deref(), Some("OBJECT=a.o tests"));
        assert_eq!(text(Privilege::Sudo).as_deref(), Some("sudo -- env OBJECT=a.o tests"));
        assert_eq!(text(Privilege::None), None);
    }
}
