//! The errors of loading and attaching the BPF programs. Each error has one line for the cause and
//! another line for the help.

use std::{borrow::Cow, io};

use caps::Capability;
use nix::errno::Errno;

use super::{
    btf,
    confinement::{Confinement, Suspect},
    kallsyms::Hidden,
    kernel::OLDEST,
    lack::help_of_errno,
    netns, privileges,
};
use crate::{
    error::{Help, MORE_PROCESSES},
    report::Minis,
};

/// The error number of the kernel for an operation that the kernel does not support, for example
/// for an fentry program on a kernel without BPF trampolines. The number is not part of POSIX, so
/// the C library has no name and no text for the number.
const ENOTSUPP: i32 = 524;

/// The reason why the programs cannot be loaded or attached. `Display` names the cause, and
/// [`Help::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process lacks capabilities that loading BPF programs needs.
    #[error("cannot trace TCP sockets: this process lacks {}", names(.0))]
    Capability(Vec<Capability>),
    /// The process has the capabilities only in its own user namespace. The capabilities have an
    /// effect only in the initial user namespace.
    #[error("cannot trace TCP sockets: CAP_BPF and CAP_PERFMON have no effect in a user namespace")]
    UserNamespace,
    /// The kernel is older than the oldest supported kernel.
    #[error(
        "cannot trace TCP sockets: kernel {release} is too old, because it has no socket iterator"
    )]
    Kernel {
        /// The release as `uname -r` prints it.
        release: String,
    },
    /// The kernel's type information is missing or unusable.
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// The loader could not use the BPF object or create the maps.
    #[error("cannot create the maps of the BPF object: {}", chain(.0))]
    Object(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("cannot {action} BPF program {program}: {}", refusal(.action, .source.as_ref()))]
    Program {
        /// The action that failed: `load` or `attach`.
        action: &'static str,
        /// The name of the program.
        program: &'static str,
        /// The error of the kernel.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A kernel function has a number of arguments that no BPF program supports.
    #[error(
        "cannot attach to the kernel function {function}: it has {arguments} arguments, which is unknown"
    )]
    Arguments {
        /// The name of the function.
        function: &'static str,
        /// The number of arguments of the function in this kernel.
        arguments: usize,
    },
    /// The compiler has split a kernel function, so a program on the function may miss calls.
    #[error(
        "cannot count the calls of the kernel function {function}: other functions may call its variant {variant} instead"
    )]
    Split {
        /// The kind of mini sockets whose births or ends the calls are.
        minis: Minis,
        /// The name of the function.
        function: &'static str,
        /// The name of the function's variant in `/proc/kallsyms`.
        variant: String,
    },
    /// The format of the classic tracepoint cannot be read.
    #[error("cannot read the format of the tracepoint sock:inet_sock_set_state: {0}")]
    Format(#[source] io::Error),
    /// The BPF programs cannot recognize the timers of mini sockets.
    #[error("{}", hidden(*.0))]
    Kallsyms(Hidden),
    /// The sockets that the kernel's own counters cover are not exactly the sockets that tcpstate
    /// counts.
    #[error(
        "cannot poll the counters of the kernel: they cover one network namespace and both IP versions"
    )]
    Counters,
    /// The process cannot enter the network namespace that is to be counted.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The kernel refused an action. The probable cause is the confinement of this process.
    #[error("{source}; {suspect}")]
    Confined {
        /// The probable cause.
        suspect: Suspect,
        /// The error of the kernel.
        source: Box<Error>,
    },
    /// The BPF object lacks a program or a map, because the object belongs to another build of
    /// tcpstate.
    #[error("cannot use the BPF object: it has no {0}")]
    Absent(&'static str),
    /// The kernel does not measure BPF programs for this process.
    #[error("cannot measure the CPU time of BPF programs (BPF_ENABLE_STATS): {0}")]
    Statistics(io::Error),
    /// A map could not be read or written.
    #[error("cannot {action} BPF map {map}: {}", root(.source.as_ref()))]
    Map {
        /// The action that failed.
        action: &'static str,
        /// The name of the map.
        map: &'static str,
        /// The error of the kernel.
        source: Box<aya::maps::MapError>,
    },
    /// Another system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// The action that failed.
        action: &'static str,
        /// The error of the kernel.
        source: io::Error,
    },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        if let Some(help) = self.errno().and_then(help_of_errno) {
            return help.into();
        }
        match self {
            Self::Capability(_) => grant(&privileges::COUNTING).into(),
            Self::UserNamespace => {
                "run tcpstate outside the container, or in a container without a user namespace".into()
            }
            Self::Netns(error) => error.help(),
            Self::Kernel { .. } => format!("use kernel {}.{} or newer", OLDEST.0, OLDEST.1).into(),
            Self::Btf(btf::Error::Unreadable { limit: Some(help), .. }) => (*help).into(),
            Self::Btf(btf::Error::Unreadable { .. }) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount the host's /sys".into()
            }
            Self::Btf(btf::Error::Malformed { .. }) => {
                "check that no other mount hides /sys/kernel/btf, or mount sysfs again: mount -t sysfs sysfs /sys".into()
            }
            Self::Btf(_) => "report the unknown socket structs of this kernel with the output of `uname -r`".into(),
            Self::Split { minis, .. } => {
                let flag = match minis {
                    Minis::TimeWait => "--time-wait-provider",
                    Minis::SynRecv => "--syn-recv-provider",
                };
                format!("use {flag} timer, or leave out {flag}").into()
            }
            Self::Program { action, source, .. } if lacks_trampolines(action, source.as_ref()) => {
                "use timers, or a kernel built with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y".into()
            }
            Self::Format(error) if error.kind() == io::ErrorKind::NotFound => {
                "mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing".into()
            }
            Self::Format(_) => grant(&[
                Capability::CAP_BPF,
                Capability::CAP_PERFMON,
                Capability::CAP_DAC_READ_SEARCH,
            ]).into(),
            Self::Kallsyms(hidden) => help_of_hidden(*hidden),
            Self::Statistics(_) => {
                "run tcpstate as root, grant it CAP_SYS_ADMIN, or leave out --cost".into()
            }
            Self::Confined { suspect, .. } => suspect.help().into(),
            Self::System { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                MORE_PROCESSES.into()
            }
            _ if self.errno() == Some(Errno::ENOMEM) => {
                "raise the memory limit of the cgroup or the container, or decrease --max-scan-sockets"
                    .into()
            }
            Self::Map { .. } if self.errno() == Some(Errno::E2BIG) => {
                "decrease --max-scan-sockets: the kernel creates no map of this size".into()
            }
            _ if self.is_refusal() => {
                "check in `dmesg` whether a security module forbids bpf(2)".into()
            }
            _ => "report this error with the output of `uname -r`".into(),
        }
    }
}

impl Error {
    /// Returns whether this kernel does not offer a hook: the kernel refused the hook with `EPERM`,
    /// `EACCES`, `ENOMEM` or `ENOTSUPP`, or the hook would miss calls.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Split { .. } => true,
            Self::Program { action, source, .. } if lacks_trampolines(action, source.as_ref()) => {
                true
            }
            _ => matches!(self.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::ENOMEM)),
        }
    }

    /// Returns whether the cause is a lack of memory, files, threads or space in the kernel. A
    /// later attempt may succeed.
    #[must_use]
    pub fn is_lack(&self) -> bool {
        matches!(
            self.errno(),
            Some(
                Errno::ENOMEM
                    | Errno::EAGAIN
                    | Errno::EMFILE
                    | Errno::ENFILE
                    | Errno::E2BIG
                    | Errno::ENOSPC
            )
        )
    }

    /// Adds the confinement of this process to the error, if the confinement is the probable cause.
    pub(super) fn suspect(self, confinement: &Confinement) -> Self {
        let suspect = match self {
            Self::Object(_) | Self::Program { .. } | Self::Map { .. } | Self::System { .. } => {
                self.errno().and_then(|errno| confinement.suspect(errno))
            }
            _ => None,
        };
        match suspect {
            Some(suspect) => Self::Confined { suspect, source: Box::new(self) },
            None => self,
        }
    }

    /// If the kernel refused a program, returns the name of the program.
    #[must_use]
    pub fn program(&self) -> Option<&'static str> {
        match self {
            Self::Program { program, .. } => Some(program),
            Self::Confined { source, .. } => source.program(),
            _ => None,
        }
    }

    /// Returns the error number of the failed system call.
    fn errno(&self) -> Option<Errno> {
        errno(self).map(Errno::from_raw)
    }
}

/// Returns the error number of the failed system call that is a cause of this error.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = error.source();
    }
    None
}

/// Returns a text that says how to grant capabilities. The command `setcap` removes every
/// capability that the command does not name. The list `capabilities` must contain all capabilities
/// that the program needs.
#[must_use]
pub fn grant(capabilities: &[Capability]) -> String {
    let set = capabilities.iter().map(|capability| capability.to_string().to_lowercase());
    let set = set.collect::<Vec<_>>().join(",");
    format!("run tcpstate as root (sudo tcpstate ...), or run `setcap {set}+ep` on its binary")
}

fn help_of_hidden(hidden: Hidden) -> Cow<'static, str> {
    match hidden {
        Hidden::FromThisProcess => {
            grant(&[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYSLOG]).into()
        }
        Hidden::NoFile => "mount /proc, and do not hide /proc/kallsyms from the container".into(),
        Hidden::Refused => "run tcpstate as root outside the container".into(),
        Hidden::FromAll => {
            "show addresses to privileged processes: sysctl kernel.kptr_restrict=1".into()
        }
        Hidden::Absent => "report this error with the output of `uname -r`".into(),
    }
}

fn hidden(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::FromThisProcess => {
            "cannot distinguish timers: this process lacks CAP_SYSLOG, so /proc/kallsyms shows no addresses"
        }
        Hidden::Refused => {
            "cannot distinguish timers: /proc/kallsyms shows this process no addresses"
        }
        Hidden::NoFile => "cannot distinguish timers: /proc/kallsyms is missing or empty",
        Hidden::FromAll => {
            "cannot distinguish timers: /proc/kallsyms shows no addresses (kernel.kptr_restrict=2)"
        }
        Hidden::Absent => {
            "cannot distinguish timers: the function of such timers is not in /proc/kallsyms"
        }
    }
}

fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Returns whether a program could not be attached because the kernel has no BPF trampolines. Only
/// fentry and fexit programs need trampolines.
fn lacks_trampolines(action: &str, error: &(dyn std::error::Error + 'static)) -> bool {
    action == "attach" && errno(error) == Some(ENOTSUPP)
}

/// Returns the reason why a program could not be loaded or attached.
fn refusal(action: &str, error: &(dyn std::error::Error + 'static)) -> String {
    if lacks_trampolines(action, error) {
        return "this kernel has no BPF trampolines (ENOTSUPP, os error 524)".to_owned();
    }
    chain(error)
}

/// Returns the text of the innermost cause of an error.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Returns an error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    // The output of the verifier begins on the line of the error. The output of the verifier is
    // useful only to developers.
    let line = text.lines().next().unwrap_or_default();
    line.split(". Verifier output:").next().unwrap_or_default().to_owned()
}
