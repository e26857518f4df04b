//! New network namespaces with loopback up.
//!
//! Each thread is in one network namespace. Threads and processes that a thread starts are also in
//! the namespace of the thread. `/proc/net` shows the namespace of the main thread, so this module
//! uses `/proc/thread-self`.

use std::{
    ffi::OsStr,
    fs::{self, File},
    marker::PhantomData,
    net::{Ipv6Addr, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    unistd::{Pid, gettid},
};

use crate::{files, wait};

pub(crate) mod device;

/// The new namespace of the calling thread. When the value is dropped, the thread returns to its
/// previous namespace.
#[derive(Debug)]
pub struct Namespace {
    here: File,
    before: File,
    /// Entering a namespace changes only the calling thread, so the guard must stay on this thread.
    not_send: PhantomData<*const ()>,
}

impl Namespace {
    /// Moves the calling thread into a new namespace, in which `127.0.0.1` and `::1` are up.
    ///
    /// # Panics
    /// Panics if the caller is not root.
    #[must_use = "dropped, the thread leaves the namespace"]
    pub fn enter() -> Self {
        // All test traffic runs in a new namespace, so the function that creates a namespace also
        // raises the limit on open files.
        files::lift_limit();
        let before = current();
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            panic!("new network namespace: {error}: needs root, run `cargo xtask test`");
        }
        let here = current();
        device::up("lo")
            .expect("a new namespace has a loopback device, and its maker may configure it");
        Self { here, before, not_send: PhantomData }
    }

    /// Runs `inside` in a new namespace, on a separate thread.
    ///
    /// # Panics
    /// Panics if `inside` panics. The panic value is the panic value of `inside`.
    pub fn fresh<T: Send>(inside: impl FnOnce(&Self) -> T + Send) -> T {
        let result = thread::scope(|scope| scope.spawn(|| inside(&Self::enter())).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Returns the inode number of the namespace, as in `ls -l /proc/self/ns/net`.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.here.metadata().expect("an open file can be looked at").ino()
    }

    /// Returns a path by which every process of root can open the namespace. The path is valid
    /// while this guard exists.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.here.as_raw_fd()).into()
    }
}

/// A new namespace without a thread. A descriptor in this value keeps the namespace alive.
#[derive(Debug)]
pub struct Place(File);

impl Place {
    /// Creates a namespace in which `127.0.0.1` and `::1` are up.
    #[must_use = "dropped, the namespace goes"]
    pub fn new() -> Self {
        Self(
            Namespace::fresh(|namespace| namespace.here.try_clone())
                .expect("there is a descriptor left"),
        )
    }

    /// Returns the inode number of the namespace, as in `ls -l /proc/self/ns/net`.
    ///
    /// # Panics
    /// Never panics: the file is open.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.0.metadata().expect("an open file can be looked at").ino()
    }

    /// Returns a path by which every process of root can open the namespace. The path is valid
    /// while this value exists.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Runs `work` in the namespace, on a thread that then ends.
    ///
    /// # Panics
    /// Panics if `work` panics. The panic value is the panic value of `work`.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("root may enter it");
            work()
        };
        let result = thread::scope(|scope| scope.spawn(enter).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a thread in the namespace. The thread stays in the namespace until the returned value
    /// is dropped.
    ///
    /// # Panics
    /// Panics if the thread cannot enter the namespace.
    #[must_use = "dropped, the thread ends"]
    pub fn inhabit(&self) -> Inhabitant {
        let file = self.0.try_clone().expect("there is a descriptor left");
        let (say_ready, ready) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let stay = move || {
            setns(file.as_fd(), CloneFlags::CLONE_NEWNET).expect("root may enter it");
            drop(file);
            say_ready.send(gettid()).expect("somebody waits");
            // The channel never carries a value. `recv` returns an error when the sender is
            // dropped.
            _ = released.recv();
        };
        let thread = Some(thread::spawn(stay));
        let id = ready.recv().expect("the thread says that it is there");
        Inhabitant { id, release: Some(release), thread }
    }

    /// Gives the namespace a name in `/run/netns`, as `ip netns add` does.
    ///
    /// # Panics
    /// Panics if the name exists already.
    #[must_use = "dropped, the name goes"]
    pub fn name(&self, name: &OsStr) -> Name {
        let path = Path::new("/run/netns").join(name);
        fs::create_dir_all("/run/netns").expect("root may make the folder");
        File::create_new(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (nothing, from) = (None::<&str>, self.path());
        mount(Some(&from), &path, nothing, MsFlags::MS_BIND, nothing).expect("root may mount it");
        Name { path }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// A thread that runs in a [`Place`] until this value is dropped.
#[derive(Debug)]
pub struct Inhabitant {
    id: Pid,
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Inhabitant {
    /// Returns the thread ID, which procfs accepts like a process ID.
    ///
    /// # Panics
    /// Never panics: thread IDs are positive.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.as_raw().try_into().expect("it is positive")
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        self.release = None;
        // The thread does not panic, so the result of `join` is ignored.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The name of a namespace in `/run/netns`.
#[derive(Debug)]
pub struct Name {
    path: PathBuf,
}

impl Drop for Name {
    fn drop(&mut self) {
        umount2(&self.path, MntFlags::MNT_DETACH).expect("what root mounted it may unmount");
        fs::remove_file(&self.path).expect("nothing is mounted there any more");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        setns(self.before.as_fd(), CloneFlags::CLONE_NEWNET)
            .expect("who left a namespace as root may return to it");
    }
}

/// Sets a sysctl of the thread's namespace. The name has the format of the command `sysctl`, for
/// example `net.ipv4.tcp_fin_timeout`.
///
/// # Panics
/// Panics if this kernel does not have the sysctl or refuses the value.
pub fn sysctl(name: &str, value: &str) {
    fs::write(sysctl_path(name), value)
        .unwrap_or_else(|error| panic!("sysctl {name}={value}: {error}"));
}

/// Sets a sysctl of the thread's namespace to a value, and restores the earlier value on drop.
#[derive(Debug)]
pub struct Sysctl {
    name: &'static str,
    before: String,
}

impl Sysctl {
    /// Sets the sysctl until the returned value is dropped.
    ///
    /// # Panics
    /// Panics if this kernel does not have the sysctl or refuses the value.
    #[must_use = "dropped, the old value is back"]
    pub fn held(name: &'static str, value: &str) -> Self {
        Self::try_held(name, value).unwrap_or_else(|| panic!("this kernel has no sysctl {name}"))
    }

    /// Sets the sysctl until the returned value is dropped. Returns `None` if this kernel does not
    /// have the sysctl.
    ///
    /// # Panics
    /// Panics if the kernel refuses the value.
    #[must_use = "dropped, the old value is back"]
    pub fn try_held(name: &'static str, value: &str) -> Option<Self> {
        let before = fs::read_to_string(sysctl_path(name)).ok()?;
        sysctl(name, value);
        Some(Self { name, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        sysctl(self.name, self.before.trim_end());
    }
}

/// Returns the path of a sysctl; `/proc/sys/net` shows the namespace of the thread that opens the
/// path.
fn sysctl_path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// Makes the kernel distribute the packets of this namespace's loopback device over all CPUs (RPS).
/// The packets then arrive in soft interrupts, which often interrupt a BPF program. The kernel
/// skips the runs of that program in these soft interrupts. Returns false if the kernel has no RPS.
///
/// # Panics
/// Panics if the caller is not root.
#[must_use]
pub fn spread_loopback() -> bool {
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get().min(32));
    let mask = format!("{:x}", (1_u64 << cpus) - 1);
    let nothing = None::<&str>;
    // A mount of sysfs shows the devices of the namespace of the thread that mounted it.
    let spread = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .expect("one's own mounts can be made private");
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), nothing)
            .expect("root may mount sysfs");
        fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", &mask).is_ok()
    };
    let result = thread::scope(|scope| scope.spawn(spread).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Adds an address to the loopback device of this namespace.
///
/// # Panics
/// Panics if the kernel refuses the address.
pub fn add_loopback_address(address: Ipv6Addr) {
    // The index of the loopback device, the first device of every namespace.
    const LOOPBACK: libc::c_int = 1;
    device::add_v6(LOOPBACK, address, Ipv6Addr::BITS)
        .unwrap_or_else(|error| panic!("{address} for loopback: {error}"));
    // The kernel may accept the address only a moment later.
    wait::until("the address to be usable", || {
        UdpSocket::bind((address, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
    });
}

fn current() -> File {
    File::open("/proc/thread-self/ns/net").expect("every thread is in a network namespace")
}
