//! Stops one thread of another process, like a thread that waits for the kernel for a long time.

use std::{fs, io, ptr};

use nix::{
    sys::wait::{WaitPidFlag, waitpid},
    unistd::Pid,
};

/// A stopped thread. The thread runs again when this value is dropped. The value must stay on the
/// thread of the test that made it.
pub struct StoppedThread(Pid);

impl StoppedThread {
    /// Stops the thread with this name.
    #[must_use]
    pub fn new(pid: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        let is_named = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let task = tasks.flatten().find(is_named).expect("it has this thread").file_name();
        let number = task.to_str().and_then(|number| number.parse().ok()).expect("it is a number");
        let thread = Self(Pid::from_raw(number));
        thread.request(libc::PTRACE_SEIZE);
        thread.request(libc::PTRACE_INTERRUPT);
        waitpid(thread.0, Some(WaitPidFlag::__WALL)).expect("it stops");
        thread
    }

    fn request(&self, request: libc::c_uint) {
        let nothing = ptr::null_mut::<libc::c_void>();
        // SAFETY: the requests of this module read and write no memory of this process.
        let done = unsafe { libc::ptrace(request, self.0.as_raw(), nothing, nothing) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        self.request(libc::PTRACE_DETACH);
    }
}
