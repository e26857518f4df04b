//! Child processes with another name, user or cgroup. Each child process waits for a signal of the
//! test, does its work and exits.

use std::{
    ffi::CString,
    fs,
    io::{PipeWriter, Read as _, Write as _, pipe},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::id,
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, Uid, fork, setresuid},
};

/// The name, the user and the cgroup of an [`Actor`].
#[derive(Clone, Copy, Debug)]
pub struct Costume<'a> {
    /// The name of the process, at most 15 bytes.
    pub name: &'a str,
    /// The user ID.
    pub uid: u32,
    /// The cgroup. The value `None` leaves the process in the cgroup of the test.
    pub cgroup: Option<&'a Cgroup>,
}

impl Costume<'static> {
    /// A costume with a name. The user and the cgroup are those of the test, which runs as root.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self { name, uid: 0, cgroup: None }
    }
}

/// A child process that waits for [`Actor::cue`], does its work and exits.
#[derive(Debug)]
pub struct Actor {
    pid: Pid,
    cue: Option<PipeWriter>,
}

impl Actor {
    /// Starts the process in the thread's network namespace. The process has its own copy of the
    /// data that `work` uses.
    ///
    /// # Panics
    /// Panics if the kernel refuses to create the pipes or the process.
    #[must_use = "dropped, it is waited for"]
    pub fn start(costume: Costume<'_>, work: impl FnOnce()) -> Self {
        let (mut cue, ours) = pipe().expect("there are descriptors left");
        let (mut ready, mut theirs) = pipe().expect("there are descriptors left");
        // SAFETY: glibc keeps its allocator usable in the child of a process with threads. The
        // child uses no other lock that another thread of the test may hold.
        match unsafe { fork() }.expect("there may be one more process") {
            ForkResult::Parent { child } => {
                drop(theirs);
                ready.read_exact(&mut [0]).expect("the actor gets into its costume");
                Self { pid: child, cue: Some(ours) }
            }
            ForkResult::Child => {
                drop(ours);
                let play = AssertUnwindSafe(|| {
                    dress(costume);
                    theirs.write_all(&[1]).expect("somebody waits");
                    // A read error means that the test has ended.
                    if cue.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {
                        work();
                    }
                });
                let code = i32::from(catch_unwind(play).is_err());
                // SAFETY: the function `_exit` ends this process immediately. The exit handlers
                // belong to the test, so the child must not run them.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// The process ID.
    ///
    /// # Panics
    /// Never panics: process IDs are positive.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().try_into().expect("it is positive")
    }

    /// Signals the process to begin its work.
    ///
    /// # Panics
    /// Panics if the process has exited.
    pub fn cue(&mut self) {
        self.cue.take().expect("once").write_all(&[1]).expect("it waits");
    }

    /// Waits until the process exits.
    ///
    /// # Panics
    /// Panics if the process panicked.
    pub fn join(self) {
        let status = waitpid(self.pid, None).expect("it is our child");
        // `drop` would wait for the process a second time.
        std::mem::forget(self);
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "an actor ended by {status:?}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.cue.take());
        let _ = waitpid(self.pid, None);
    }
}

fn dress(Costume { name, uid, cgroup }: Costume<'_>) {
    if let Some(cgroup) = cgroup {
        fs::write(cgroup.folder.join("cgroup.procs"), "0").expect("root may enter a cgroup");
    }
    let text = CString::new(name).expect("no zero in it");
    // SAFETY: the kernel copies the text, which ends in a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
    let uid = Uid::from_raw(uid);
    // The function `setresuid` of glibc changes the user of all threads of a process. This process
    // has only one thread.
    setresuid(uid, uid, uid).expect("root may become anybody");
}

/// A cgroup (version 2) of the test. Dropping the value removes the cgroup.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    folder: PathBuf,
}

impl Cgroup {
    /// Creates the cgroup `name` in a directory of this test. Returns `None` if the machine has no
    /// cgroup version 2.
    ///
    /// # Panics
    /// Panics if root is not allowed to create the cgroup.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists())?;
        let folder = root.join(format!("tcpstate-test-{}.slice", id())).join(name);
        fs::create_dir_all(&folder).expect("root may make cgroups");
        Some(Self { root: root.to_owned(), folder })
    }

    /// The path of the cgroup, relative to the root of all cgroups.
    ///
    /// # Panics
    /// Never panics: the cgroup is below the root.
    #[must_use]
    pub fn path(&self) -> String {
        let below = self.folder.strip_prefix(&self.root).expect("it is below the root");
        format!("/{}", below.display())
    }

    /// The path of the parent cgroup.
    ///
    /// # Panics
    /// Never panics: the cgroup has a parent.
    #[must_use]
    pub fn slice(&self) -> String {
        let path = self.path();
        path.rsplit_once('/').expect("it is below another").0.to_owned()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // After the test has waited for the last process of the cgroup, the cgroup is empty. The
        // kernel may need a moment longer until the cgroup is empty.
        let is_gone = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        crate::wait::until("the cgroup to be empty", is_gone);
        let _ = self.folder.parent().map(fs::remove_dir);
    }
}
