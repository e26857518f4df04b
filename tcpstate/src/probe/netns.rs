//! Selects the network namespace to count, and enters the namespace.

use std::{
    borrow::Cow,
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

use crate::{
    error::Help,
    nearest::{did_you_mean, nearest},
    report::Counted,
    text::escaped,
};

/// The folders in which `ip netns` keeps names. The second folder is usually a link to the first
/// folder.
pub(super) const NAMES: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// The file of the network namespace of this thread.
pub(super) const OWN: &str = "/proc/thread-self/ns/net";

/// The network namespaces that the user chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Netns {
    /// The network namespace of the calling thread.
    #[default]
    Own,
    /// All network namespaces of the host. Each network namespace is counted separately.
    All,
    /// The network namespace with this name below `/run/netns`.
    Name(String),
    /// The network namespace to which this file belongs.
    Path(PathBuf),
    /// The network namespace of the process with this id.
    Pid(u32),
}

/// The reason why a network namespace cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no file with this name.
    #[error("cannot find the network namespace {}: it is not in /run/netns", escaped(.name))]
    NoName {
        /// The requested name.
        name: String,
        /// The existing names that are most similar to the requested name.
        near: Vec<String>,
    },
    /// The file of this thread's namespace cannot be read.
    #[error("cannot read {OWN}: {0}")]
    NoProc(io::Error),
    /// There is no process with this id.
    #[error("cannot find the network namespace of process {0}: the process does not exist")]
    NoProcess(u32),
    /// The file cannot be opened.
    #[error("cannot open the network namespace {}: {cause}", escaped(.path.as_os_str()))]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// The file is not a network namespace.
    #[error(
        "cannot open the network namespace {}: the file is not a network namespace",
        escaped(.0.as_os_str())
    )]
    Other(PathBuf),
    /// The process lacks CAP_SYS_ADMIN.
    #[error("cannot {what}: this process lacks CAP_SYS_ADMIN")]
    Refused {
        /// The action that failed.
        what: String,
    },
    /// This process may not inspect the process with this id.
    #[error("cannot open the network namespace of process {0}: permission denied")]
    Hidden(u32),
    /// Entering the namespace failed for another reason.
    #[error("cannot enter the network namespace {netns}: {cause}")]
    NotEntered {
        /// The requested namespace.
        netns: Netns,
        /// The error of the system.
        cause: io::Error,
    },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::NoName { near, .. } => {
                let near: Vec<_> = near.iter().map(escaped).collect();
                match did_you_mean(&near) {
                    Some(question) => format!("{question} `ip netns list` shows all names").into(),
                    None => "list all names with `ip netns list`; for a container, use --netns pid:N with one of its processes".into(),
                }
            }
            Self::NoProc(_) => "mount proc: mount -t proc proc /proc".into(),
            Self::NoProcess(_) => "choose a running process; `lsns -t net` lists one process for each network namespace".into(),
            Self::Other(path) if NAMES.iter().any(|folder| path.starts_with(folder)) => {
                "delete the file with `ip netns delete`, and create the namespace with `ip netns add`".into()
            }
            Self::Other(_) | Self::Unreadable { .. } => {
                "choose a file such as /run/netns/NAME or /proc/PID/ns/net, which this process may read".into()
            }
            Self::Refused { .. } => {
                "run tcpstate as root (sudo tcpstate ...), or run it in the network namespace without --netns".into()
            }
            Self::Hidden(_) => {
                "run tcpstate as root, grant it CAP_SYS_ADMIN and CAP_SYS_PTRACE, or choose another process of the namespace".into()
            }
            Self::NotEntered { .. } => "report this error with the output of `uname -r`".into(),
        }
    }
}

impl Netns {
    /// Permanently moves the calling thread to another network namespace.
    pub(super) fn enter_other(&self) -> Result<(), Error> {
        let file = self.open()?;
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            nix::Error::EPERM => {
                Error::Refused { what: format!("enter the network namespace {self}") }
            }
            errno => Error::NotEntered { netns: self.clone(), cause: errno.into() },
        })
    }

    fn open(&self) -> Result<File, Error> {
        let path = self.path()?;
        let refused = |cause: io::Error| match (self, cause.kind()) {
            (Self::Pid(_), io::ErrorKind::NotFound) if !Path::new(OWN).exists() => {
                Error::NoProc(cause)
            }
            (Self::Pid(pid), io::ErrorKind::NotFound) => Error::NoProcess(*pid),
            (Self::Pid(pid), io::ErrorKind::PermissionDenied) => Error::Hidden(*pid),
            _ => Error::Unreadable { path: path.clone(), cause },
        };
        open(&path).map_err(refused)?.ok_or_else(|| Error::Other(path.clone()))
    }

    /// Returns the path of the namespace's file.
    fn path(&self) -> Result<PathBuf, Error> {
        match self {
            Self::Own | Self::All => Ok(OWN.into()),
            Self::Path(path) => Ok(path.clone()),
            Self::Pid(pid) => Ok(format!("/proc/{pid}/ns/net").into()),
            Self::Name(name) => NAMES
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|path| path.symlink_metadata().is_ok())
                .ok_or_else(|| Error::NoName { name: name.clone(), near: near(name, names()) }),
        }
    }
}

impl FromStr for Netns {
    type Err = String;

    /// Parses `self`, `all`, `name:N`, `path:P` or `pid:N`. A word without a prefix is the name of
    /// a network namespace.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = |name: &str| {
            if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
                let name = escaped(name);
                return Err(format!(
                    "{name:?} is not a name; expected self, all, NAME, name:NAME, path:FILE or pid:N"
                ));
            }
            Ok(Self::Name(name.to_owned()))
        };
        match (text, text.split_once(':')) {
            ("self", _) => Ok(Self::Own),
            ("all", _) => Ok(Self::All),
            (_, Some(("name", rest))) => name(rest),
            (_, Some(("path", ""))) => Err("path: needs a file, as in path:/proc/1/ns/net".into()),
            (_, Some(("path", path))) => Ok(Self::Path(path.into())),
            (_, Some(("pid", number))) => match number.parse() {
                Ok(number) if number > 0 => Ok(Self::Pid(number)),
                _ => Err(format!("{:?} is not a process id", escaped(number))),
            },
            _ => name(text),
        }
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("self"),
            Self::All => f.write_str("all"),
            Self::Name(name) => write!(f, "name:{}", escaped(name)),
            Self::Path(path) => write!(f, "path:{}", escaped(path.as_os_str())),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
        }
    }
}

impl Counted {
    /// Returns the inode of the counted network namespace, or 0 if all network namespaces are
    /// counted. The kernel's inode has 32 bits (`struct ns_common`).
    pub(super) fn inode(self) -> u32 {
        match self {
            Self::One(inode) => u32::try_from(inode).unwrap_or(u32::MAX),
            Self::All => 0,
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(inode) => write!(f, "{inode}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Opens a file and checks that the file is a network namespace. If the file is not a network
/// namespace, opening the file has no side effect.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Check the file system before the ioctl, because the driver of another file could misinterpret
    // the ioctl.
    if fstatfs(&file)?.filesystem_type() != NSFS_MAGIC {
        return Ok(None);
    }
    // SAFETY: NS_GET_NSTYPE takes no argument, and the descriptor is open.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    Ok((kind == libc::CLONE_NEWNET).then_some(file))
}

/// Returns the names of all named network namespaces.
fn names() -> Vec<OsString> {
    let entries = NAMES.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the names of network namespaces that are most similar to the given name.
fn near(name: &str, names: Vec<OsString>) -> Vec<String> {
    let names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    nearest(name, names.iter().map(String::as_str)).into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netns_forms_are_parsed_and_displayed_unchanged() {
        for (text, expected) in [
            ("self", Netns::Own),
            ("all", Netns::All),
            ("blue", Netns::Name("blue".into())),
            ("name:all", Netns::Name("all".into())),
            ("name:a:b", Netns::Name("a:b".into())),
            ("cni-1:x", Netns::Name("cni-1:x".into())),
            ("path:/proc/1/ns/net", Netns::Path("/proc/1/ns/net".into())),
            ("pid:17", Netns::Pid(17)),
        ] {
            let netns: Netns = text.parse().expect(text);
            assert_eq!(netns, expected, "{text}");
            assert_eq!(netns.to_string().parse::<Netns>().expect("it is a form"), netns, "{text}");
        }
    }

    #[test]
    fn invalid_netns_forms_are_refused_with_the_valid_forms() {
        for text in [
            "",
            "name:",
            "/run/netns/blue",
            "name:../x",
            "path:",
            "pid:",
            "pid:0",
            "pid:-1",
            "pid:x",
        ] {
            let error = text.parse::<Netns>().expect_err(text);
            assert!(
                error.contains("is not a ") || error.contains("path:/proc/1/ns/net"),
                "{error}"
            );
        }
    }

    #[test]
    fn similar_names_are_suggested_most_similar_first() {
        let names = ["blue", "green", "bleu2", "blue1"].map(OsString::from).to_vec();
        let near = near("blu", names);
        assert_eq!(near.first().map(String::as_str), Some("blue"));
        assert!(!near.contains(&"green".to_owned()), "{near:?}");
    }

    #[test]
    fn other_files_and_other_namespaces_are_not_opened() {
        for path in ["/etc/passwd", "/", "/dev/null", "/proc/self/ns/mnt"] {
            assert!(open(Path::new(path)).expect("it is there").is_none(), "{path}");
        }
        assert!(open(Path::new("/proc/self/ns/net")).expect("it is there").is_some());
    }
}
