//! The benchmarks, their programs, and the explanations of their tables.

/// A program that measures.
pub(super) struct Benchmark {
    pub(super) package: &'static str,
    /// The name of the benchmark in cargo and on the command line.
    pub(super) name: &'static str,
    pub(super) sections: &'static [Section],
}

/// A table.
pub(super) struct Section {
    /// The name of the section in its rows.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The heading of the column with the varied value. Empty if no value varies.
    pub(super) at: &'static str,
    /// The row with which the other rows are compared.
    pub(super) base: &'static str,
    /// The method of the measurement.
    pub(super) text: &'static str,
    /// The drawing of the section, if it has one.
    pub(super) plot: Option<Plot>,
}

/// A drawing of one figure of all rows.
pub(super) struct Plot {
    pub(super) figure: &'static str,
    /// Whether both axes are logarithmic, for values that grow by powers.
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
                text: "Nanoseconds per run of a program, while connections are opened and \
                       reset. The kernel's BPF statistics measure the time.\n\nMeasuring itself \
                       takes most of that time. So each turn also measures an empty program on \
                       this tracepoint. \"Net\" is the time minus the time of the empty \
                       program. The work of user space is not included.",
                plot: None,
            },
            Section {
                id: "sides",
                title: "Cost of one side of a connection",
                at: "",
                base: "the empty program",
                text: "Nanoseconds for all transitions of one side of a connection, measured as \
                       in the section before. The sides have three transitions each:\n\n* \
                       client: CLOSE to SYN_SENT, to ESTABLISHED, to CLOSE\n* server: LISTEN to \
                       SYN_RECV, to ESTABLISHED, to CLOSE\n\n250 connections are opened at a \
                       time. The transitions of the two sides happen at different times. The \
                       listener waits for data before its children are born \
                       (`TCP_DEFER_ACCEPT`). Each side closes without a packet to the other \
                       side (`TCP_REPAIR`).",
                plot: None,
            },
            Section {
                id: "spread",
                title: "Cost of a transition of uncached sockets",
                at: "sockets",
                base: "the empty program",
                text: "Nanoseconds per run of a program, measured as in the first section. All \
                       sockets are opened, and then all are closed. So the memory that an event \
                       reads was last used that many sockets ago, and no CPU cache holds it. \
                       The rows `hist` and `events` have room for twice as many sockets.",
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
                   TIME_WAIT or for a half-open connection. A provider is the set of hooks that \
                   sees mini sockets.\n\nThe figures are nanoseconds per TIME_WAIT entry, and \
                   per request socket in SYN_RECV. They are the difference between connections \
                   that make such a socket and connections that make none. With timers, every \
                   unrelated timer event of the machine has a cost too.",
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
                text: "Threads open and close connections over loopback as fast as they can, \
                       for both families. Half of the connections end with a RST. Each turn has \
                       one run without a tracer and one run with each tracer.\n\n\"CPU of \
                       load\" is the CPU time of both ends of a connection, with the kernel's \
                       work for them. \"CPU of tracer\" is the CPU time of the tracer's \
                       process. With few processors, the tracer also takes CPU time from the \
                       load.",
                plot: None,
            },
            Section {
                id: "share",
                title: "Share of our programs in a connection",
                at: "",
                base: "an untraced connection",
                text: "`trace` runs with its defaults, providers of mini sockets included. The \
                       figure is the run time of all programs for a connection that ends in \
                       TIME_WAIT, both sides together. The time of as many runs of an empty \
                       program is subtracted, because it is the cost of measuring.",
                plot: None,
            },
            Section {
                id: "processors",
                title: "Effect by number of processors",
                at: "processors",
                base: "the untraced run",
                text: "There are as many threads as processors. Load and tracer are bound to \
                       these processors.",
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
                text: "Each command answers once how many sockets are in which state. The start \
                       and the end of all processes are included. `trace` is already running, \
                       and takes one snapshot. All answers were correct.",
                plot: None,
            },
            Section {
                id: "asking-established",
                title: "Counting sockets by state: ESTABLISHED",
                at: "sockets",
                base: "`ss -tan | awk`",
                text: "This is the measurement of the section before, with ESTABLISHED sockets.",
                plot: Some(Plot { figure: "CPU ms", is_logarithmic: true }),
            },
            Section {
                id: "minute",
                title: "Counting once per second for a minute",
                at: "ESTABLISHED",
                base: "`ss -tan | awk`",
                text: "The figure is the sum of 60 answers. For `trace` it is the CPU time of \
                       the whole minute.",
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
            text: "Two threads open the given number of connections per second. In the last \
                   rows they open as many as they can. The threads know how many transitions \
                   they cause. A transition that is missing from a program's lines or counts is \
                   lost. The load, the kernel's work for it and the output share the processors \
                   of the machine.\n\n* Scans are those after the first scan. They were made \
                   because an event was missed.\n* Gauges are compared with the kernel's \
                   sockets at the end, before a last scan.\n* Programs without gauges get \
                   derived gauges: transitions into a state minus transitions out of it. A \
                   listener stays in LISTEN when its child is born. There are no sockets at the \
                   start.\n* These other programs see all network namespaces. So the machine \
                   should have no other traffic.\n* A vendor's kernel, release 6.18.44-fc, \
                   skips all BPF programs while process 1 runs. On that kernel a few lost \
                   events are normal, for any tool.",
            plot: Some(Plot { figure: "lost, %", is_logarithmic: false }),
        }],
    },
    Benchmark {
        package: "tcpstate-tests",
        name: "scans",
        sections: &[Section {
            id: "scans",
            title: "Cost of a scan",
            at: "sockets",
            base: "`ss -tan | awk`",
            text: "A scan is made at the start. A later scan is made only if the kernel reports \
                   a missed event, or if the kernel's own sums differ from the gauges. Its wall \
                   time includes pauses of 100 ms. All other readings are snapshots.",
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
                text: "The time is from the start of the process to its first line, which is \
                       exact. The memory of the process is read one second later. The memory of \
                       maps is the sum over all maps that the process has open, as the kernel \
                       reports it (`memlock`).",
                plot: None,
            },
            Section {
                id: "maps",
                title: "Kernel memory by map",
                at: "",
                base: "",
                text: "All maps have their default sizes. Some maps have room for each \
                       processor.",
                plot: None,
            },
            Section {
                id: "binary",
                title: "Size of the program",
                at: "",
                base: "",
                text: "The program is built by `cargo build --release`.",
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
            text: "The events are those of an invented busy host. They are written and read in \
                   batches of 1,024, as views receive them. The speed is in million events per \
                   second.",
            plot: None,
        }],
    },
];
