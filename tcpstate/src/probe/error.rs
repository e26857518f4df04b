//! Why the kernel half could not be put in place: the cause in one line, the help in another.

use std::{borrow::Cow, io};

use caps::Capability;
use nix::errno::Errno;

use super::{
    btf,
    confinement::{Confinement, Suspect},
    kallsyms::Hidden,
    kernel::OLDEST,
    netns, privileges,
};
use crate::error::Help;

/// What kept the programs from being loaded and attached. `Display` names the cause; [`Help::help`] what helps.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not load BPF programs.
    #[error("counting in the kernel needs {}, which this process lacks", names(.0))]
    Capability(Vec<Capability>),
    /// The process has them in a user namespace of its own, where they do not count.
    #[error(
        "counting in the kernel needs CAP_BPF and CAP_PERFMON outside of any user namespace; this process is in one"
    )]
    UserNamespace,
    /// The kernel is older than any on which exact counts are known to work.
    #[error(
        "kernel {release} is too old: the socket iterator that exact counts need came with 5.9"
    )]
    Kernel {
        /// As `uname -r` prints it.
        release: String,
    },
    /// The kernel's type information is missing or unusable.
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// The loader could not use the object or create its maps.
    #[error("create the maps of the BPF object: {}", chain(.0))]
    Object(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("{action} BPF program {program}: {}", chain(.source.as_ref()))]
    Program {
        /// `load` or `attach`.
        action: &'static str,
        /// The program's name.
        program: &'static str,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A function of the kernel is not as any that the programs were written for.
    #[error("the kernel's function {function} takes {arguments} arguments, which is new")]
    Arguments {
        /// Its name.
        function: &'static str,
        /// How many it takes here.
        arguments: usize,
    },
    /// The classic tracepoint does not say where its fields lie.
    #[error("read the format of the tracepoint sock:inet_sock_set_state: {0}")]
    Format(#[source] io::Error),
    /// Timers can't be told apart.
    #[error("{}", hidden(*.0))]
    Kallsyms(Hidden),
    /// The kernel's own counters would tell something else.
    #[error("the kernel's own counters are of one network namespace, and of both families")]
    Counters,
    /// The network namespace to be counted can't be had.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The kernel said no, and something confines this process that may be why.
    #[error("{source}; {suspect}")]
    Confined {
        /// What confines it.
        suspect: Suspect,
        /// What the kernel said no to.
        source: Box<Error>,
    },
    /// The object is not the one that this build was made for.
    #[error("the BPF object has no {0}")]
    Absent(&'static str),
    /// The kernel may not be asked to measure programs.
    #[error("have the kernel measure what BPF programs cost (BPF_ENABLE_STATS): {0}")]
    Statistics(io::Error),
    /// A map could not be read or written.
    #[error("{action} BPF map {map}: {}", root(.source.as_ref()))]
    Map {
        /// What was tried.
        action: &'static str,
        /// The map's name.
        map: &'static str,
        /// What the kernel said.
        source: Box<aya::maps::MapError>,
    },
    /// Another system call failed.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::Capability(_) => grant(&privileges::COUNTING).into(),
            Self::UserNamespace => {
                "run it outside of the container, or in one without a user namespace of its own".into()
            }
            Self::Netns(error) => error.help(),
            Self::Kernel { .. } => format!("use kernel {}.{} or newer", OLDEST.0, OLDEST.1).into(),
            Self::Btf(btf::Error::Unreadable { .. }) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, let it see the host's /sys".into()
            }
            Self::Btf(btf::Error::Malformed { .. }) => {
                "see that nothing lies over /sys/kernel/btf: mount -t sysfs sysfs /sys".into()
            }
            Self::Btf(_) => "this kernel's socket structs are unknown to this build: report it with `uname -r`".into(),
            Self::Format(error) if error.kind() == io::ErrorKind::NotFound => {
                "mount it: mount -t tracefs tracefs /sys/kernel/tracing".into()
            }
            Self::Format(_) => grant(&[
                Capability::CAP_BPF,
                Capability::CAP_PERFMON,
                Capability::CAP_DAC_READ_SEARCH,
            ]).into(),
            Self::Kallsyms(Hidden::FromThisProcess) => grant(&[
                Capability::CAP_BPF,
                Capability::CAP_PERFMON,
                Capability::CAP_SYSLOG,
            ]).into(),
            Self::Kallsyms(Hidden::FromAll) => "sysctl kernel.kptr_restrict=1".into(),
            Self::Statistics(_) => {
                "run it as root, or grant it CAP_SYS_ADMIN; or leave out --cost: counting needs neither".into()
            }
            Self::Confined { suspect, .. } => suspect.help().into(),
            _ if self.errno() == Some(Errno::ENOMEM) => {
                "give it more memory (the limit is the cgroup's or the container's), or scan of the sockets in \
                 less of it: --max-scan-sockets"
                    .into()
            }
            Self::Map { .. } if self.errno() == Some(Errno::E2BIG) => {
                "the kernel makes no map as large as that: --max-scan-sockets with less".into()
            }
            _ if self.is_refusal() => {
                "see whether a security module, as in `dmesg`, forbids bpf(2)".into()
            }
            _ => "report it with the output of `uname -r`".into(),
        }
    }
}

impl Error {
    /// Whether the kernel said no, rather than that something is wrong.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::ENOMEM))
    }

    /// Names what confines this process, if that is likely to be why the kernel said no.
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

    /// The program that the kernel refused, if it was one.
    #[must_use]
    pub fn program(&self) -> Option<&'static str> {
        match self {
            Self::Program { program, .. } => Some(program),
            Self::Confined { source, .. } => source.program(),
            _ => None,
        }
    }

    /// What the system said.
    fn errno(&self) -> Option<Errno> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return io.raw_os_error().map(Errno::from_raw);
            }
            cause = error.source();
        }
        None
    }
}

/// How to get these. `setcap` takes away what it does not name, so all that are needed are named.
#[must_use]
pub fn grant(capabilities: &[Capability]) -> String {
    let set = capabilities.iter().map(|capability| capability.to_string().to_lowercase());
    let set = set.collect::<Vec<_>>().join(",");
    format!("run it as root (sudo tcpstate ...), or grant it: setcap {set}+ep on the binary")
}

fn hidden(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::FromThisProcess => {
            "telling timers apart needs CAP_SYSLOG, which this process lacks: /proc/kallsyms shows it no addresses"
        }
        Hidden::FromAll => {
            "telling timers apart needs addresses, which /proc/kallsyms hides from all (kernel.kptr_restrict=2)"
        }
        Hidden::Absent => "the function that such timers call is not in /proc/kallsyms",
    }
}

fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// What caused an error in the end.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// An error with what caused it, on one line.
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
    // What the verifier has to say begins on this line, and is for developers.
    let line = text.lines().next().unwrap_or_default();
    line.split(". Verifier output:").next().unwrap_or_default().to_owned()
}
