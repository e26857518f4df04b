//! What is measured, by which programs, and what their tables mean.

/// A program that measures.
pub(super) struct Benchmark {
    pub(super) package: &'static str,
    /// Cargo's name of it, and ours.
    pub(super) name: &'static str,
    pub(super) sections: &'static [Section],
}

/// A table.
pub(super) struct Section {
    /// What its rows call it.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it varies, the heading of a column; nothing if there is none.
    pub(super) at: &'static str,
    /// What its rows are compared with.
    pub(super) base: &'static str,
    /// How it was measured.
    pub(super) text: &'static str,
    /// The figure that is drawn over what it varies, if one is.
    pub(super) plot: Option<Plot>,
}

/// A drawing of a figure of all rows.
pub(super) struct Plot {
    pub(super) figure: &'static str,
    /// Whether both axes are logarithmic: what grows by powers.
    pub(super) is_logarithmic: bool,
}

/// In the order of the document.
pub(super) const BENCHMARKS: [Benchmark; 8] = [
    Benchmark {
        package: "tcpstate-tests",
        name: "transitions",
        sections: &[
            Section {
                id: "transitions",
                title: "A transition",
                at: "idle sockets",
                base: "the empty program",
                text: "Nanoseconds a run, by the kernel's BPF statistics, while connections are made and reset. Measuring \
                       takes most of it, so an empty program on the same tracepoint is measured in each turn, and \"net\" is what is left \
                       without it. User space has no part in this.",
                plot: None,
            },
            Section {
                id: "sides",
                title: "A connection's side",
                at: "",
                base: "the empty program",
                text: "Nanoseconds for all transitions of one side of a connection together, as above: the client's three, from CLOSE to SYN_SENT, ESTABLISHED \
                       and CLOSE, and the server's three, from LISTEN to SYN_RECV, ESTABLISHED and CLOSE. 250 connections at a time, and the sides apart: \
                       the listener waits for data (`TCP_DEFER_ACCEPT`) before its children are born, and each side goes without telling the other (`TCP_REPAIR`).",
                plot: None,
            },
            Section {
                id: "spread",
                title: "A transition of sockets that no cache holds",
                at: "sockets",
                base: "the empty program",
                text: "As above, while that many sockets are opened and, all open, closed: what an event reads was last touched \
                       that many sockets ago. hist and events have room for twice as many.",
                plot: None,
            },
        ],
    },
    Benchmark {
        package: "tcpstate-tests",
        name: "mini_sockets",
        sections: &[Section {
            id: "mini-sockets",
            title: "Mini sockets, by provider",
            at: "idle sockets",
            base: "an empty program on timer_start",
            text: "Nanoseconds for each TIME_WAIT entry and for each request in SYN_RECV: what a connection that makes one takes \
                   more than one that makes none. Where timers serve, each other timer event of the machine has a price too.",
            plot: None,
        }],
    },
    Benchmark {
        package: "tcpstate",
        name: "connections",
        sections: &[
            Section {
                id: "connections",
                title: "What an application pays",
                at: "threads",
                base: "nobody tracing",
                text: "Threads open and close connections over loopback, as fast as they can, half of them by RST, of both families, \
                       untraced and under each tracer in each turn. Processor time of a connection is of both ends, with the kernel's work for them; what the \
                       tracer's process takes comes on top, and takes processors from the load where there are few.",
                plot: None,
            },
            Section {
                id: "share",
                title: "What our programs take of a connection",
                at: "",
                base: "what an untraced connection takes",
                text: "`trace` as it is by default, providers for mini sockets included: all programs' run time for a connection that ends in TIME_WAIT, both sides, \
                       less what as many runs of an empty program take, which is what measuring costs.",
                plot: None,
            },
            Section {
                id: "processors",
                title: "One processor, and more",
                at: "processors",
                base: "nobody tracing",
                text: "As many threads as processors, to which load and tracer are bound.",
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
                title: "How many sockets in which state? With sockets in TIME_WAIT",
                at: "sockets",
                base: "ss -tan | awk",
                text: "One answer, start and end of all processes included; `trace` runs already, and takes a snapshot. Each answer was the right \
                       one.",
                plot: None,
            },
            Section {
                id: "asking-established",
                title: "The same with ESTABLISHED sockets",
                at: "sockets",
                base: "ss -tan | awk",
                text: "As above.",
                plot: Some(Plot { figure: "CPU ms", is_logarithmic: true }),
            },
            Section {
                id: "minute",
                title: "An answer a second, for a minute",
                at: "ESTABLISHED",
                base: "ss -tan | awk",
                text: "The sum of 60 answers; of `trace` all that it took in that time.",
                plot: None,
            },
        ],
    },
    Benchmark {
        package: "tcpstate",
        name: "events",
        sections: &[Section {
            id: "truth",
            title: "Truth under load",
            at: "connections/s",
            base: "",
            text: "Two threads make that many connections a second, the last as many as they can. They know how many transitions that is; what is \
                   not in a program's lines, or counts, was lost. The load, the kernel's work for it and the lines share the machine's processors. Passes \
                   are those that were due after the first. Gauges are compared with the kernel's sockets at the end, before a last pass; those of programs \
                   that have none are derived from their lines, or counts, as whoever began without sockets may: what came into a state less what left it, \
                   a listener staying when its child is born. These programs see the whole machine, where there should be nobody else. (A vendor's kernel of \
                   the release 6.18.44-fc, if the machine above has it, skips every BPF program, whosever, while process 1 runs: a handful lost is its doing.)",
            plot: Some(Plot { figure: "lost, %", is_logarithmic: false }),
        }],
    },
    Benchmark {
        package: "tcpstate-tests",
        name: "scans",
        sections: &[Section {
            id: "scans",
            title: "A scan",
            at: "sockets",
            base: "ss -tan | awk",
            text: "A scan is made at the start, and later only when the kernel says that something was missed, or its own sums do; its wall time has \
                   100 ms in which it waits. Otherwise there are snapshots.",
            plot: Some(Plot { figure: "CPU ms", is_logarithmic: true }),
        }],
    },
    Benchmark {
        package: "tcpstate",
        name: "footprint",
        sections: &[
            Section {
                id: "footprint",
                title: "Footprint",
                at: "sockets",
                base: "`trace`",
                text: "From the start of the process to its first line, which is exact; memory one second later; the kernel's memory for maps, of all that the \
                       process has open, by their own word (`memlock`).",
                plot: None,
            },
            Section {
                id: "maps",
                title: "The kernel's memory, by map",
                at: "",
                base: "",
                text: "Of maps with their default sizes; some have room for each processor.",
                plot: None,
            },
            Section {
                id: "binary",
                title: "The program",
                at: "",
                base: "",
                text: "As `cargo build --release` makes it.",
                plot: None,
            },
        ],
    },
    Benchmark {
        package: "tcpstate",
        name: "recording",
        sections: &[Section {
            id: "recording",
            title: "A recording",
            at: "events",
            base: "",
            text: "Events of a made-up busy host, 1,024 at a time as they come to a view: million events a second.",
            plot: None,
        }],
    },
];
