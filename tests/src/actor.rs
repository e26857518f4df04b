//! Processes of other names, users and cgroups, which do what a test tells them and end.

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

/// What a process is.
#[derive(Clone, Copy, Debug)]
pub struct Costume<'a> {
    /// At most 15 bytes.
    pub name: &'a str,
    /// Its user.
    pub uid: u32,
    /// Its cgroup, if not that of the test.
    pub cgroup: Option<&'a Cgroup>,
}

/// A process that waits for its cue, and ends when its work is done.
#[derive(Debug)]
pub struct Actor {
    pid: Pid,
    cue: Option<PipeWriter>,
}

impl Actor {
    /// Starts it, in the thread's network namespace. What `work` uses is the child's own copy.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use = "dropped, it is waited for"]
    pub fn start(costume: Costume<'_>, work: impl FnOnce()) -> Self {
        let (mut cue, ours) = pipe().expect("there are descriptors left");
        let (mut ready, mut theirs) = pipe().expect("there are descriptors left");
        // SAFETY: glibc keeps its allocator usable in the child of a process with threads, and the child uses nothing else that
        // another thread may hold.
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
                    // An error is a cue too: the test has ended.
                    if cue.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {
                        work();
                    }
                });
                let code = i32::from(catch_unwind(play).is_err());
                // SAFETY: ends this process, at once: what is to be run at exit is the test's.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// Its number.
    ///
    /// # Panics
    /// Never: numbers are positive.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().try_into().expect("it is positive")
    }

    /// Tells it to begin.
    ///
    /// # Panics
    /// If it has ended.
    pub fn cue(&mut self) {
        self.cue.take().expect("once").write_all(&[1]).expect("it waits");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it panicked.
    pub fn join(self) {
        let status = waitpid(self.pid, None).expect("it is our child");
        // It must not be waited for twice.
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
    // Of this process and not of its thread alone: it has no other.
    setresuid(uid, uid, uid).expect("root may become anybody");
}

/// A cgroup of version 2 of the test's own, empty again when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    folder: PathBuf,
}

impl Cgroup {
    /// Makes one, if the machine has version 2: with this name, in a folder that is the test's.
    ///
    /// # Panics
    /// If root may not.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists())?;
        let folder = root.join(format!("tcpstate-test-{}.slice", id())).join(name);
        fs::create_dir_all(&folder).expect("root may make cgroups");
        Some(Self { root: root.to_owned(), folder })
    }

    /// From the root of all cgroups.
    ///
    /// # Panics
    /// Never: it is below.
    #[must_use]
    pub fn path(&self) -> String {
        let below = self.folder.strip_prefix(&self.root).expect("it is below the root");
        format!("/{}", below.display())
    }

    /// The path of the folder around it.
    ///
    /// # Panics
    /// Never: there is one.
    #[must_use]
    pub fn slice(&self) -> String {
        let path = self.path();
        path.rsplit_once('/').expect("it is below another").0.to_owned()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is empty once its last process is waited for; the kernel may take a moment longer.
        let is_gone = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        crate::wait::until("the cgroup to be empty", is_gone);
        let _ = self.folder.parent().map(fs::remove_dir);
    }
}
