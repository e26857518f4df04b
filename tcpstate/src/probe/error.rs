//! Why the kernel half could not be put in place: the cause in one line, the remedy in another.

use std::io;

use caps::Capability;
use nix::errno::Errno;

use super::{btf, kernel::OLDEST, netns};

/// What kept the programs from being loaded and attached. `Display` names the cause; [`Error::remedy`] what helps.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not load BPF programs.
    #[error("counting in the kernel needs {}, which this process lacks", names(.0))]
    Capability(Vec<Capability>),
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
    #[error(
        "/proc/kallsyms hides the addresses of the kernel's functions (kernel.kptr_restrict=2, or no CAP_SYSLOG)"
    )]
    Kallsyms,
    /// The kernel's own counters would tell something else.
    #[error("the kernel's own counters are of one network namespace, and of both families")]
    Counters,
    /// The network namespace to be counted can't be had.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The object is not the one that this build was made for.
    #[error("the BPF object has no {0}")]
    Absent(&'static str),
    /// The kernel may not be asked to measure programs.
    #[error("have the kernel measure what BPF programs cost (BPF_ENABLE_STATS): {0}")]
    Statistics(io::Error),
    /// A map could not be read or written.
    #[error("{action} BPF map {map}: {}", chain(.source))]
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

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Capability(missing) => {
                let set = missing.iter().map(|capability| capability.to_string().to_lowercase()).collect::<Vec<_>>();
                format!("run it as root (sudo tcpstate ...), or grant it: setcap {}+ep on the binary", set.join(","))
            }
            Self::Netns(error) => error.remedy(),
            Self::Kernel { .. } => format!("use kernel {}.{} or newer", OLDEST.0, OLDEST.1),
            Self::Btf(btf::Error::Unreadable { .. }) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, let it see the host's /sys".into()
            }
            Self::Format(_) => "mount it: mount -t tracefs tracefs /sys/kernel/tracing; it needs root or CAP_DAC_READ_SEARCH".into(),
            Self::Kallsyms => "run it as root, or grant it CAP_SYSLOG; sysctl kernel.kptr_restrict=1".into(),
            Self::Statistics(_) => {
                "run it as root, or grant it CAP_SYS_ADMIN; or leave out --cost: counting needs neither".into()
            }
            Self::Btf(_) => "this kernel's socket structs are unknown to this build: report it with `uname -r`".into(),
            Self::Object(_) | Self::Program { .. } | Self::Map { .. } if self.is_refusal() => {
                "see whether kernel lockdown (/sys/kernel/security/lockdown), a security module or the container's \
                 seccomp profile forbids bpf(2), and whether the memory limit leaves room for its maps"
                    .into()
            }
            _ => "report it with the output of `uname -r`".into(),
        }
    }

    /// Whether the kernel said no, rather than that something is wrong.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        const EPERM: i32 = Errno::EPERM as i32;
        const EACCES: i32 = Errno::EACCES as i32;
        const ENOMEM: i32 = Errno::ENOMEM as i32;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return matches!(io.raw_os_error(), Some(EPERM | EACCES | ENOMEM));
            }
            cause = error.source();
        }
        false
    }
}

fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
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
