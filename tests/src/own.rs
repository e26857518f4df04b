//! tcpstate as a process: the path of the program, and a process that writes lines into a file.

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Seek as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    command::{bound_to_us, signal},
    measure::processor_time,
    wait,
};

/// Returns the path of the program `tcpstate`. In a guest, `TCPSTATE_TEST_PROGRAM` has the path. On
/// the host, cargo stores the program in the folder above the folder of the test programs. If the
/// program was not built, the function prints why the test is skipped.
///
/// # Panics
/// Never panics: a running test program has a path.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let beside = || {
        let test = env::current_exe().expect("it runs");
        test.ancestors().nth(2).map(|folder| folder.join("tcpstate"))
    };
    let given = env::var_os("TCPSTATE_TEST_PROGRAM").map(PathBuf::from);
    let program = given.or_else(beside).filter(|path| path.exists());
    if program.is_none() {
        println!("skipped: the program tcpstate is not built");
    }
    program
}

/// A running tcpstate process. The process is killed when this value is dropped, or when the thread
/// that started the process ends.
#[derive(Debug)]
pub struct Own {
    child: Child,
    output: File,
}

impl Own {
    /// Starts the program at this path, and waits for the program's first line.
    ///
    /// # Panics
    /// Panics if the program prints no line.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let output = tempfile::tempfile().expect("there is room for a file");
        let child = bound_to_us(Command::new(program).args(arguments))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("files can be shared"))
            .spawn()
            .expect("it is built");
        let own = Self { child, output };
        wait::until("its first line", || own.output.metadata().is_ok_and(|file| file.len() > 0));
        own
    }

    /// The process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The CPU time of the process until now.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        processor_time(self.child.id())
    }

    /// Sends SIGINT to the process, as Ctrl-C does. Returns the lines that the process wrote.
    ///
    /// # Panics
    /// Panics if the process fails.
    pub fn stop(mut self) -> impl Iterator<Item = String> {
        signal(&self.child, Signal::SIGINT);
        assert!(self.child.wait().expect("it is our child").success());
        self.output.rewind().expect("it is a file");
        let output = self.output.try_clone().expect("files can be shared");
        BufReader::new(output).lines().map(|line| line.expect("it writes text"))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The process may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
