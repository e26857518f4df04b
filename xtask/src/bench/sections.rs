//! The benchmarks, their programs, and the explanations of their tables.

/// A benchmark: a program that measures costs.
pub(super) struct Benchmark {
    pub(super) package: &'static str,
    /// The name of the benchmark in cargo and on the command line.
    pub(super) name: &'static str,
    pub(super) sections: &'static [Section],
}

/// A table.
pub(super) struct Section {
    /// The name of the section. Each row that belongs to the section contains this name.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The heading of the column with the varied value, or an empty text if the section varies no
    /// value.
    pub(super) at: &'static str,
    /// The row with which the other rows are compared.
    pub(super) base: &'static str,
    /// A text that explains how the figures of the section are measured.
    pub(super) text: &'static str,
    /// The drawing of the section, if the section has a drawing.
    pub(super) plot: Option<Plot>,
}

/// A drawing that shows one figure for all rows of a section.
pub(super) struct Plot {
    pub(super) figure: &'static str,
    /// Whether both axes are logarithmic. Logarithmic axes suit a value that grows exponentially.
    pub(super) is_logarithmic: bool,
}

/// All benchmarks, in the order of the document.
pub(super) const BENCHMARKS: [Benchmark; 8] = [
    Benchmark {
        package: "tcpstate-tests",
        name: "transitions",
        sections: &[
            Section {
                id: "transitions",
                title: "Cost of a transition",
                at: "idle sockets",
                base: "the empty program",
                text: "The figures are nanoseconds per run of a program, while connections are \
                       opened and reset. The kernel's BPF statistics measure the run time.\n\nMost \
                       of the measured time is the cost of measuring. So each turn also measures \
                       an empty program on the tracepoint of the measured program. \"Net\" is the \
                       time of a program minus the time of the empty program. The figures do not \
                       include the work of user space.",
                plot: None,
            },
            Section {
                id: "sides",
                title: "Cost of one side of a connection",
                at: "",
                base: "the empty program",
                text: "The figures are nanoseconds for all transitions of one side of a \
                       connection. The kernel's BPF statistics measure the run time. Each side of \
                       a connection has three transitions:\n\n* The client's transitions are CLOSE \
                       to SYN_SENT, SYN_SENT to ESTABLISHED, and ESTABLISHED to CLOSE.\n* The \
                       server's transitions are LISTEN to SYN_RECV, SYN_RECV to ESTABLISHED, and \
                       ESTABLISHED to CLOSE.\n\nThe benchmark opens 250 connections at a time. To \
                       measure the two sides separately, the benchmark lets their transitions \
                       happen at different times. The listener creates child sockets only when \
                       data arrives (`TCP_DEFER_ACCEPT`). Each side closes without sending a \
                       packet to the other side (`TCP_REPAIR`).",
                plot: None,
            },
            Section {
                id: "spread",
                title: "Cost of a transition of uncached sockets",
                at: "sockets",
                base: "the empty program",
                text: "The figures are nanoseconds per run of a program. The kernel's BPF \
                       statistics measure the run time. The benchmark opens all sockets, and \
                       closes all of them afterwards. Between two events of a socket, all other \
                       sockets have events, so no CPU cache holds the data of the socket. With \
                       `hist` and `events`, the socket table has capacity for twice as many \
                       sockets as the benchmark opens.",
                plot: None,
            },
        ],
    },
    Benchmark {
        package: "tcpstate-tests",
        name: "mini_sockets",
        sections: &[Section {
            id: "mini-sockets",
            title: "Cost of mini sockets, by provider",
            at: "idle sockets",
            base: "an empty program on timer_start",
            text: "A mini socket is a small kernel struct that stands for a connection in \
                   TIME_WAIT or for a half-open connection. A provider is a set of hooks that see \
                   mini sockets.\n\nThe figures are nanoseconds per TIME_WAIT entry, and per \
                   request socket in SYN_RECV. Each figure is the cost of connections that create \
                   one of these mini sockets minus the cost of connections that create none. With \
                   the provider `timer`, every unrelated timer event of the machine has a cost \
                   too.",
            plot: None,
        }],
    },
    Benchmark {
        package: "tcpstate",
        name: "connections",
        sections: &[
            Section {
                id: "connections",
                title: "Effect on an application",
                at: "threads",
                base: "the untraced run",
                text: "Threads open and close connections over loopback as fast as they can, for \
                       both families. Half of the connections end with a RST. Each turn has one \
                       run without a tracer and one run with each tracer.\n\n\"CPU of load\" is \
                       the CPU time of both sides of a connection, the kernel's work included. \
                       \"CPU of tracer\" is the CPU time of the tracer's process. On a machine \
                       with few processors, the load and the tracer compete for CPU time.",
                plot: None,
            },
            Section {
                id: "share",
                title: "Share of our programs in a connection",
                at: "",
                base: "an untraced connection",
                text: "`trace` runs with its default options, which include the providers of mini \
                       sockets. The figure is the run time of all BPF programs of `trace` for both \
                       sides of a connection that ends in TIME_WAIT. The time of equally many runs \
                       of an empty program is subtracted, because that time is the cost of \
                       measuring.",
                plot: None,
            },
            Section {
                id: "processors",
                title: "Effect by number of processors",
                at: "processors",
                base: "the untraced run",
                text: "The load has as many threads as processors. The load and the tracer run \
                       only on the given number of processors.",
                plot: Some(Plot { figure: "connections/s", is_logarithmic: false }),
            },
        ],
    },
    Benchmark {
        package: "tcpstate",
        name: "count",
        sections: &[
            Section {
                id: "asking-time-wait",
                title: "Counting sockets by state: TIME_WAIT",
                at: "sockets",
                base: "`ss -tan | awk`",
                text: "Each command prints once how many sockets are in each state. The figures \
                       include the start and the exit of all processes of the command. For \
                       `trace`, the figures are those of one snapshot of a running process. All \
                       commands printed correct numbers of sockets.",
                plot: None,
            },
            Section {
                id: "asking-established",
                title: "Counting sockets by state: ESTABLISHED",
                at: "sockets",
                base: "`ss -tan | awk`",
                text: "In this section, the benchmark counts ESTABLISHED sockets. The section \
                       \"Counting sockets by state: TIME_WAIT\" describes the method.",
                plot: Some(Plot { figure: "CPU ms", is_logarithmic: true }),
            },
            Section {
                id: "minute",
                title: "Counting once per second for a minute",
                at: "ESTABLISHED",
                base: "`ss -tan | awk`",
                text: "The figure is the CPU time of 60 counts. For `trace`, the figure is the CPU \
                       time of the whole minute.",
                plot: None,
            },
        ],
    },
    Benchmark {
        package: "tcpstate",
        name: "events",
        sections: &[Section {
            id: "truth",
            title: "Lost events under load",
            at: "connections/s",
            base: "",
            text: "Two threads open the given number of connections per second. In the last rows \
                   of the table, the threads open as many connections as they can. The threads \
                   know how many transitions they cause. A transition counts as lost if it is \
                   missing from the lines or counts of a program. The load, the kernel's work and \
                   the output share the processors of the machine.\n\n* The table counts only \
                   scans after the first scan. Every scan after the first scan ran because an \
                   event was missed.\n* The benchmark compares gauges with the kernel's sockets at \
                   the end, before a last scan.\n* For a program without gauges, the benchmark \
                   computes gauges: transitions into a state minus transitions out of the state. \
                   In the computed gauges, a listener stays in LISTEN when its child is born. No \
                   sockets exist at the start.\n* bpftrace and tcpstates see all network \
                   namespaces. So the machine should have no other traffic during the \
                   benchmark.\n* A vendor's kernel, release 6.18.44-fc, skips all BPF programs \
                   while process 1 runs. On the vendor's kernel, every tool loses a few events.",
            plot: Some(Plot { figure: "lost, %", is_logarithmic: false }),
        }],
    },
    Benchmark {
        package: "tcpstate-tests",
        name: "scans",
        sections: &[Section {
            id: "scans",
            title: "Cost of a scan and of an audit",
            at: "sockets",
            base: "`ss -tan | awk`",
            text: "tcpstate makes one scan at its start. Later scans correct missed events, or \
                   audit the gauges under traffic. An audit of sockets at rest is a cut and a list \
                   of all sockets by sock_diag. The next audit waits 1,000 times the CPU time of \
                   the last audit, so audits use 0.1 % of one CPU. The wall time of a scan \
                   includes pauses of 100 ms. A snapshot is a reading without a scan.",
            plot: Some(Plot { figure: "CPU ms", is_logarithmic: true }),
        }],
    },
    Benchmark {
        package: "tcpstate",
        name: "footprint",
        sections: &[
            Section {
                id: "footprint",
                title: "Start time and memory",
                at: "sockets",
                base: "`trace`",
                text: "The start time is measured from the start of the process to its first line \
                       of output, whose numbers are exact. The memory of the process is read one \
                       second after the first line. The memory of maps is the sum over all maps \
                       that the process has open, as the kernel reports it (`memlock`).",
                plot: None,
            },
            Section {
                id: "maps",
                title: "Kernel memory by map",
                at: "",
                base: "",
                text: "All maps have their default sizes. Some maps have separate memory for each \
                       processor.",
                plot: None,
            },
            Section {
                id: "binary",
                title: "Size of the program",
                at: "",
                base: "",
                text: "The measured program was built by `cargo build --release`.",
                plot: None,
            },
        ],
    },
    Benchmark {
        package: "tcpstate",
        name: "recording",
        sections: &[Section {
            id: "recording",
            title: "Recordings",
            at: "events",
            base: "",
            text: "The benchmark writes and reads generated events of a busy host, in batches of \
                   1,024. The unit of the speed is one million events per second.",
            plot: None,
        }],
    },
];
