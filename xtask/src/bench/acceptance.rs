//! What was promised, held against what was measured.

use std::fmt::Write as _;

use super::{
    rows::Rows,
    table::{aligned, markdown_line, number},
};

/// A promise: some number is at most this.
struct Promise {
    what: &'static str,
    at_most: f64,
    unit: &'static str,
    /// The number, if it was measured.
    measured: fn(&Rows) -> Option<f64>,
    /// Why it is not kept, where that was found out.
    why_not: &'static str,
}

const ASKING: &str = "asking-established";
const SNAPSHOT: &str = "a snapshot of trace";
const TCPSTATES: &str = "tcpstates (libbpf-tools)";

const PROMISES: &[Promise] = &[
    Promise {
        what: "counters: a run, of an empty program's",
        at_most: 1.15,
        unit: "×",
        measured: |rows| ratio(rows, ["transitions", "counters", "ns"]),
        why_not: "an empty run is what measuring takes, and so short that little is left. The program calls nothing: in 73 instructions (`bpftool prog dump xlated`) it \
                  reads the socket's namespace and protocol, finds this CPU's counters by a look-up that the verifier has inlined, and adds to two or three of them. Most of what it takes \
                  is waiting for memory that the kernel's own work has put out of the nearest cache; without the state counters beside the matrix it would be 1.10 ×. [TUNING.md](TUNING.md) has what was \
                  tried. The next promise is of what it takes beside what bpftrace takes for the matrix alone.",
    },
    Promise {
        what: "counters: net, of bpftrace's",
        at_most: 0.35,
        unit: "×",
        measured: |rows| of_other(rows, ["transitions", "net ns"], "counters", "bpftrace, count()"),
        why_not: "",
    },
    Promise {
        what: "events: net, of tcpstates'",
        at_most: 1.0 / 25.0,
        unit: "×",
        measured: |rows| of_other(rows, ["transitions", "net ns"], "events", TCPSTATES),
        why_not: "what a line takes hardly differs from run to run; what tcpstates takes does, by half.",
    },
    Promise {
        what: "our programs' CPU, net, of an untraced connection's",
        at_most: 0.01,
        unit: "×",
        measured: |rows| ratio(rows, ["share", "our programs, net", "ns a connection"]),
        why_not: "where a kernel refuses programs on functions, timers serve: a connection on loopback sets off many timer events, each of which \
                  runs a program that mostly finds that the timer is nobody's (see the runs, and their spread, below: a nanosecond more for the empty program is 22 less for \
                  a connection).",
    },
    Promise {
        what: "a snapshot at 250,000 ESTABLISHED: CPU, of `ss -tan | awk`",
        at_most: 1.0 / 200.0,
        unit: "×",
        measured: |rows| rows.at(250_000, [ASKING, SNAPSHOT, "CPU ms"])?.ratio,
        why_not: "",
    },
    Promise {
        what: "the same, of one at 1,000 sockets (turns differ by 5 %)",
        at_most: 1.05,
        unit: "×",
        measured: |rows| {
            let at = |sockets| rows.at(sockets, [ASKING, SNAPSHOT, "CPU ms"]);
            Some(at(250_000)?.median / at(1_000)?.median)
        },
        why_not: "",
    },
    Promise {
        what: "`count` at 250,000 ESTABLISHED: CPU, of `ss -tan | awk`",
        at_most: 0.5,
        unit: "×",
        measured: |rows| rows.at(250_000, [ASKING, "tcpstate count", "CPU ms"])?.ratio,
        why_not: "",
    },
    Promise {
        what: "lost at rates where tcpstates loses, of all transitions",
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
        what: "ready at 50,000 sockets",
        at_most: 500.0,
        unit: "ms",
        measured: |rows| {
            Some(rows.at(50_000, ["footprint", "trace", "ms to the first number"])?.median)
        },
        why_not: "",
    },
    Promise {
        what: "VmRSS a second after that",
        at_most: 20.0,
        unit: "MiB",
        measured: |rows| Some(rows.at(50_000, ["footprint", "trace", "VmRSS MiB"])?.median),
        why_not: "",
    },
];

/// The largest ratio to the section's base, of all that the section varies.
fn ratio(rows: &Rows, path: [&str; 3]) -> Option<f64> {
    rows.all(path).filter_map(|(_, figure)| figure.ratio).max_by(f64::total_cmp)
}

/// The largest ratio of two rows' figures, of all that the section varies.
fn of_other(rows: &Rows, [section, figure]: [&str; 2], what: &str, other: &str) -> Option<f64> {
    let others = rows.all([section, other, figure]);
    let ratios = others.filter_map(|(at, other)| {
        Some(rows.at(at, [section, what, figure])?.median / other.median)
    });
    ratios.max_by(f64::total_cmp)
}

/// The table, for people.
pub(super) fn plain(rows: &Rows) -> String {
    aligned(&lines(rows))
}

/// The table, for the document; the reasons follow.
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
        _ = write!(text, "\n* {}: {}\n", promise.what, promise.why_not);
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
    fn promises_are_kept_or_not_or_nobody_knows() {
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
        assert_eq!(line(1), "counters: a run, of an empty program's ≤ 1.15 × 1.20 × **not kept**");
        assert_eq!(line(2), "counters: net, of bpftrace's ≤ 0.35 × 0.20 × kept");
        assert_eq!(line(3), "events: net, of tcpstates' ≤ 0.0400 ×  not measured");
    }
}
