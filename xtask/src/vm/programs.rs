//! Builds or finds the programs of a guest: the static test programs, tcpstate, `ss`, and the
//! libraries of `ss`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    debian,
    kernel_tests::{self, FOLDER},
    process,
    test::binaries,
};

const INIT: &str = "vm-init";
/// The program under test.
const TCPSTATE: &str = "tcpstate";
/// Tests compare the counts of `ss` with tcpstate's counts, and use `ss` to destroy sockets.
const SS: &str = "ss";
const SS_PACKAGE: &str = "iproute2";

/// The programs of a guest, and their paths on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The program that the guest's kernel starts as the first process.
    pub(crate) init: PathBuf,
    /// The program `tcpstate`. In the guest, it has the path that it has on this machine.
    pub(crate) tcpstate: PathBuf,
    /// The name and the executable of each test program.
    pub(crate) tests: BTreeMap<String, PathBuf>,
    /// The directory in which the test programs expect to run.
    pub(crate) folder: PathBuf,
    /// Files of the source tree that the test programs read.
    pub(crate) files: Vec<PathBuf>,
    /// Programs that the test programs run, and the libraries of these programs. In the guest,
    /// these files have the paths that they have on this machine.
    pub(crate) tools: Vec<PathBuf>,
}

/// Builds the guest's programs with the cargo command that builds all kernel tests.
pub(crate) fn build(root: &Path) -> Result<Programs> {
    let mut programs = named(&binaries::messages(&mut kernel_tests::cargo(root))?)?;
    programs.files.push(root.join("tcpstate/bpf/tcpstate.bpf.o"));
    if process::find_in_path(SS).is_none() {
        debian::install(&[SS_PACKAGE])?;
    }
    let ss = process::find_in_path(SS).with_context(|| format!("no {SS} in PATH"))?;
    programs.tools = libraries(&process::read(process::command("ldd").arg(&ss))?);
    programs.tools.push(ss);
    Ok(programs)
}

impl Programs {
    /// Returns a copy that contains only this test program.
    pub(crate) fn only(&self, name: &str) -> Self {
        let mut programs = self.clone();
        programs.tests.retain(|test, _| test == name);
        programs
    }

    /// Removes the test programs in which these arguments select no test, because the archive must
    /// fit into the memory of a small machine.
    pub(crate) fn retain(&mut self, arguments: &[String]) -> Result<()> {
        let lists: Vec<(String, String)> = self
            .tests
            .iter()
            .map(|(name, test)| {
                let mut command = process::command(test);
                Ok((name.clone(), process::read(command.args(arguments).arg("--list"))?))
            })
            .collect::<Result<_>>()?;
        for (name, list) in lists {
            if !list.lines().any(|line| line.ends_with(": test")) {
                self.tests.remove(&name);
            }
        }
        Ok(())
    }
}

/// Returns the paths of the libraries in the output of `ldd`.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Returns the programs that cargo's messages name.
fn named(messages: &str) -> Result<Programs> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }

    let mut init = None;
    let mut tcpstate = None;
    let mut folder = None;
    let mut tests = BTreeMap::new();
    for line in messages.lines() {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("message of cargo: {line}"))?;
        let (Some(target), Some(executable)) = (message.target, message.executable) else {
            continue;
        };
        let package = message.manifest_path.as_deref().and_then(Path::parent);
        match target.kind.first().map(String::as_str) {
            // Skip the tests of the package `tcpstate`, because these tests need programs that a
            // guest does not have.
            Some("test") if package.is_some_and(|package| package.ends_with(FOLDER)) => {
                tests.insert(target.name, executable);
                folder = package.map(Path::to_owned);
            }
            Some("bin") if target.name == INIT => init = Some(executable),
            Some("bin") if target.name == TCPSTATE => tcpstate = Some(executable),
            _ => {}
        }
    }
    let init = init.with_context(|| format!("{FOLDER}/ has no program {INIT}"))?;
    let tcpstate = tcpstate.context("cargo built no program tcpstate")?;
    let folder = folder.with_context(|| format!("{FOLDER}/ has no tests"))?;
    Ok(Programs { init, tcpstate, tests, folder, files: Vec::new(), tools: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_programs() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/x/Cargo.toml","target":{"name":"x","kind":["lib"]},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"tcpstate_tests","kind":["lib"]},"executable":"/t/unit"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"vm-init","kind":["bin"]},"executable":"/t/vm-init"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/tcpstate/Cargo.toml","target":{"name":"tcpstate","kind":["bin"]},"executable":"/t/tcpstate"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"gauges","kind":["test"]},"executable":"/t/gauges-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/tcpstate/Cargo.toml","target":{"name":"views","kind":["test"]},"executable":"/t/views-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let programs = named(messages).expect("all are named");
        assert_eq!(programs.init, Path::new("/t/vm-init"));
        assert_eq!(programs.tcpstate, Path::new("/t/tcpstate"));
        assert_eq!(programs.folder, Path::new("/w/tests"));
        assert_eq!(programs.tests, [("gauges".to_owned(), PathBuf::from("/t/gauges-1"))].into());
    }

    #[test]
    fn libraries_are_the_paths_that_ldd_prints() {
        let ldd = concat!(
            "\tlinux-vdso.so.1 (0x00007f5481d97000)\n",
            "\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f5481cd2000)\n",
            "\t/lib64/ld-linux-x86-64.so.2 (0x00007f5481d99000)\n",
        );
        let expected = ["/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(ldd), expected.map(PathBuf::from));
    }

    #[test]
    fn a_missing_first_process_is_an_error() {
        assert!(named(r#"{"reason":"build-finished","success":true}"#).is_err());
    }
}
