//! Promised limits, compared with the measured figures.

use std::fmt::Write as _;

use super::{
    rows::Rows,
    table::{aligned, markdown_line, number, wrapped},
};

/// A promise of the project: the measured figure is at most `at_most`.
struct Promise {
    what: &'static str,
    at_most: f64,
    unit: &'static str,
    /// The function that returns the figure, or `None` if no benchmark measured the figure.
    measured: fn(&Rows) -> Option<f64>,
    /// The known reason why the promise is not kept, or an empty text.
    why_not: &'static str,
}

const ASKING: &str = "asking-established";
const SNAPSHOT: &str = "a snapshot of trace";
const TCPSTATES: &str = "tcpstates (libbpf-tools)";
const TCPLIFE: &str = "tcplife (libbpf-tools)";

const PROMISES: &[Promise] = &[
    Promise {
        what: "counters: time per run / empty program",
        at_most: 1.15,
        unit: "×",
        measured: |rows| ratio(rows, ["transitions", "counters", "ns"]),
        why_not: "the counting program may take only 15 % longer than an empty program. The run \
                  time of an empty program is only the cost of measuring. The counting program has \
                  73 instructions (`bpftool prog dump xlated`) and calls no function. The counting \
                  program reads the socket's namespace and protocol. The counting program finds \
                  this CPU's counters by a look-up that the verifier has inlined, and adds to two \
                  or three counters. The counting program mainly waits for memory that the \
                  kernel's own work has displaced from the nearest cache. Without the state \
                  counters, which are separate from the matrix, the ratio would be 1.10 ×. \
                  [TUNING.md](TUNING.md) lists attempts to make the counting program faster. The \
                  promise \"counters: net time / bpftrace\" compares the counting program with \
                  bpftrace, which counts only the matrix.",
    },
    Promise {
        what: "counters: net time / bpftrace",
        at_most: 0.35,
        unit: "×",
        measured: |rows| of_other(rows, ["transitions", "net ns"], "counters", "bpftrace, count()"),
        why_not: "",
    },
    Promise {
        what: "events: net time / tcpstates",
        at_most: 1.0 / 25.0,
        unit: "×",
        measured: |rows| of_other(rows, ["transitions", "net ns"], "events", TCPSTATES),
        why_not: "the time of tcpstate for a line is nearly constant, but the time of tcpstates \
                  differs by half between runs.",
    },
    Promise {
        what: "connections: net time / tcplife",
        at_most: 1.0 / 8.0,
        unit: "×",
        measured: |rows| of_other(rows, ["transitions", "net ns"], "connections", TCPLIFE),
        why_not: "",
    },
    Promise {
        what: "our programs: net CPU / untraced connection",
        at_most: 0.01,
        unit: "×",
        measured: |rows| ratio(rows, ["share", "our programs, net", "ns a connection"]),
        why_not: "on a kernel that refuses fentry, tcpstate uses timers. A connection over \
                  loopback causes many timer events, and each timer event runs a program. Most \
                  timer events of a connection are unrelated to mini sockets. The figure depends \
                  strongly on the run time of the empty program. If a run of the empty program \
                  takes one nanosecond more, the figure for a connection is 22 ns lower. The \
                  section \"Share of our programs in a connection\" has the figures and their \
                  spread.",
    },
    Promise {
        what: "snapshot at 250,000 ESTABLISHED: CPU / `ss -tan | awk`",
        at_most: 1.0 / 200.0,
        unit: "×",
        measured: |rows| rows.at(250_000, [ASKING, SNAPSHOT, "CPU ms"])?.ratio,
        why_not: "",
    },
    Promise {
        what: "snapshot at 250,000 ESTABLISHED: CPU / snapshot at 1,000",
        at_most: 1.05,
        unit: "×",
        measured: |rows| {
            let at = |sockets| rows.at(sockets, [ASKING, SNAPSHOT, "CPU ms"]);
            Some(at(250_000)?.median / at(1_000)?.median)
        },
        why_not: "",
    },
    Promise {
        what: "`count` at 250,000 ESTABLISHED: CPU / `ss -tan | awk`",
        at_most: 0.5,
        unit: "×",
        measured: |rows| rows.at(250_000, [ASKING, "tcpstate count", "CPU ms"])?.ratio,
        why_not: "",
    },
    Promise {
        what: "lost transitions, at rates at which tcpstates loses some",
        at_most: 0.0,
        unit: "%",
        measured: |rows| {
            let path = |what| ["truth", what, "lost, %"];
            let theirs = rows.all(path(TCPSTATES)).filter(|(_, lost)| lost.median > 0.0);
            let ours = theirs.filter_map(|(at, _)| rows.at(at, path("trace --events -o json")));
            ours.map(|lost| lost.median).max_by(f64::total_cmp)
        },
        why_not: "",
    },
    Promise {
        what: "time to the first line at 50,000 sockets",
        at_most: 500.0,
        unit: "ms",
        measured: |rows| {
            Some(rows.at(50_000, ["footprint", "trace", "ms to the first number"])?.median)
        },
        why_not: "",
    },
    Promise {
        what: "VmRSS one second later",
        at_most: 20.0,
        unit: "MiB",
        measured: |rows| Some(rows.at(50_000, ["footprint", "trace", "VmRSS MiB"])?.median),
        why_not: "",
    },
];

/// Divides each figure at `path` by the figure of the section's base row, and returns the largest
/// ratio.
fn ratio(rows: &Rows, path: [&str; 3]) -> Option<f64> {
    rows.all(path).filter_map(|(_, figure)| figure.ratio).max_by(f64::total_cmp)
}

/// For each value at which both rows were measured, divides the figure of the row `what` by the
/// figure of the row `other`. Returns the largest ratio.
fn of_other(rows: &Rows, [section, figure]: [&str; 2], what: &str, other: &str) -> Option<f64> {
    let others = rows.all([section, other, figure]);
    let ratios = others.filter_map(|(at, other)| {
        Some(rows.at(at, [section, what, figure])?.median / other.median)
    });
    ratios.max_by(f64::total_cmp)
}

/// Returns the table of promises as text.
pub(super) fn plain(rows: &Rows) -> String {
    aligned(&lines(rows))
}

/// Returns the table of promises as Markdown, and the reasons why promises are not kept.
pub(super) fn markdown(rows: &Rows) -> String {
    let mut text = String::new();
    for line in lines(rows) {
        text += &markdown_line(&line);
        if text.lines().count() == 1 {
            text += "|---|---:|---:|---|\n";
        }
    }
    let reasons = PROMISES.iter().filter(|promise| !promise.why_not.is_empty());
    for promise in reasons.filter(|promise| !promise.is_kept(rows).unwrap_or(true)) {
        let reason = format!("* {}: {}", promise.what, promise.why_not);
        _ = write!(text, "\n{}\n", wrapped(&reason));
    }
    text
}

fn lines(rows: &Rows) -> Vec<Vec<String>> {
    let mut lines = vec![["", "promised", "measured", ""].map(str::to_owned).to_vec()];
    for promise in PROMISES {
        let measured = (promise.measured)(rows);
        let verdict = match promise.is_kept(rows) {
            Some(true) => "kept",
            Some(false) => "**not kept**",
            None => "not measured",
        };
        let with_unit = |value: f64| format!("{} {}", number(value), promise.unit);
        lines.push(vec![
            promise.what.to_owned(),
            format!("≤ {}", with_unit(promise.at_most)),
            measured.map(with_unit).unwrap_or_default(),
            verdict.to_owned(),
        ]);
    }
    lines
}

impl Promise {
    fn is_kept(&self, rows: &Rows) -> Option<bool> {
        (self.measured)(rows).map(|measured| measured <= self.at_most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_kept_broken_or_unknown() {
        let text = concat!(
            r#"{"section":"transitions","at":0,"what":"counters","figures":[{"name":"ns","median":70,"spread":1,"ratio":1.1},{"name":"net ns","median":10,"spread":1}]}"#,
            "\n",
            r#"{"section":"transitions","at":9,"what":"counters","figures":[{"name":"ns","median":80,"spread":1,"ratio":1.2},{"name":"net ns","median":20,"spread":1}]}"#,
            "\n",
            r#"{"section":"transitions","at":9,"what":"bpftrace, count()","figures":[{"name":"net ns","median":100,"spread":1}]}"#,
        );
        let rows = Rows::parse(text).expect("they are rows");
        let lines = lines(&rows);
        let line = |number: usize| lines[number].join(" ");
        assert_eq!(line(1), "counters: time per run / empty program ≤ 1.15 × 1.20 × **not kept**");
        assert_eq!(line(2), "counters: net time / bpftrace ≤ 0.35 × 0.20 × kept");
        assert_eq!(line(3), "events: net time / tcpstates ≤ 0.0400 ×  not measured");
    }
}
