//! Programs under test that print gauges, and the comparison of every printed line with the kernel.
//!
//! ```text
//! rows of /proc -> lines of tcpstate -> rows of /proc: equal rows ? exact line == rows ?
//! ```
//!
//! A line can be compared only if no socket changed around its cut. The test reads the kernel's
//! sockets before and after the line. If both readings show the same sockets in the same states,
//! and nothing but the kernel's timers can change a socket meanwhile, no socket changed. Timers
//! only end sockets or move sockets forward, so a socket cannot change twice and look the same.

mod library;
mod line;
mod program;
mod served;

use std::{
    fmt::{self, Write as _},
    ops::AddAssign,
    thread,
    time::{Duration, Instant, SystemTime},
};

pub use self::{line::Line, program::Program};
use crate::{
    traffic::Family,
    truth::{self, Rows},
    wait::{self, patience},
    watch::Scope,
};

/// The pause between two looks for new lines.
const PAUSE: Duration = Duration::from_millis(5);
/// The number of lines of each program that a comparison covers at least.
const LINES: u64 = 3;
/// The time during which an exact line may be wrong after a timer changed a socket at rest. Only an
/// audit finds the lost end of a request, and the budget of audits does not wait for timers.
const AFTER_TIMER: Duration = Duration::from_secs(5);
/// The time during which an exact line of all namespaces may be wrong. Before, `--netns all` makes
/// no audit.
const OF_ALL: Duration = Duration::from_secs(1);

/// The numbers of a comparison.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The number of lines during which no socket changed.
    pub compared: u64,
    /// The number of compared lines that claimed to be exact.
    pub exact: u64,
    /// The number of compared lines that claimed to be exact with a wrong gauge.
    pub wrong: u64,
    /// The number of such lines that came so early that they are allowed.
    pub early: u64,
    /// The number of compared lines that were not exact, and whose gauges differed from the kernel
    /// by more than the line admitted.
    pub hidden: u64,
    /// The number of compared lines that were not exact and had a wrong gauge within their bound.
    pub admitted: u64,
    /// The number of comparisons in which a program printed no exact and right line in time.
    pub late: u64,
    /// The number of comparisons without a program's lines, because other namespaces had traffic.
    pub busy: u64,
}

/// The programs under test, the comparison of their lines, and its failures.
#[derive(Debug)]
pub struct Lines {
    programs: Vec<Program>,
    /// The last reading, and the time since which no reading was different.
    last: Rows,
    unchanged_since: SystemTime,
    /// Whether a timer has changed a socket since the traffic ended.
    has_timer_fired: bool,
    /// The numbers of all comparisons until now.
    pub tally: Tally,
}

/// The results of one comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// A text for each program that failed.
    pub failures: Vec<String>,
    /// The time until each program had printed an exact and right line.
    pub exact_after: Vec<Option<Duration>>,
}

/// The limits of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time after the call within which each program must print an exact and right line.
    pub exact_within: Duration,
    /// The time after the last change of a socket during which an exact line may be wrong.
    pub wrong_within: Duration,
}

/// The lines of one program during a comparison.
#[derive(Debug, Default)]
struct Findings {
    tally: Tally,
    /// The first and the last line that claimed too much.
    evidence: Option<[String; 2]>,
    exact_after: Option<Duration>,
    /// The last compared line, and its wrong gauges.
    last: Option<String>,
    /// The number of compared lines after the time in which an exact line may be wrong.
    strict: u64,
    /// The states of the other namespaces in the last line.
    elsewhere: Option<Vec<String>>,
    /// Whether sockets of other namespaces changed between two lines. No line of all namespaces is
    /// at rest then.
    has_traffic_elsewhere: bool,
}

impl Lines {
    /// Compares the lines of these programs with the sockets of the thread's namespace.
    #[must_use]
    pub fn new(programs: Vec<Program>) -> Self {
        let last = Rows::read();
        Self {
            programs,
            unchanged_since: last.begin,
            last,
            has_timer_fired: false,
            tally: Tally::default(),
        }
    }

    /// Compares lines until each program has printed a line that is exact and equal to the kernel's
    /// sockets and to `ss`, or until the time is over. Programs that count all namespaces need no
    /// exact line, because other namespaces may be busy.
    ///
    /// During the call, only the kernel's timers may change sockets.
    ///
    /// # Panics
    /// Panics if a program ends, or if `ss` and `/proc` differ.
    pub fn compare(&mut self, limits: &Limits) -> Comparison {
        /// The time for the lines after the time in which an exact line may be wrong.
        const LAST: Duration = Duration::from_secs(2);
        let end = patience(limits.exact_within.max(limits.wrong_within + LAST));
        self.read();
        self.has_timer_fired = false;
        wait::grace_period();
        let began = Instant::now();
        let mut findings: Vec<Findings> =
            self.programs.iter().map(|_| Findings::default()).collect();
        self.read();
        // The sockets may look as at the last call, although they have moved since.
        self.unchanged_since = self.last.begin;
        loop {
            self.await_lines();
            self.compare_lines(&mut findings, limits, began);
            let is_done = |(program, findings): (&Program, &Findings)| {
                let is_exact = findings.exact_after.is_some() || !program.must_be_exact();
                is_exact && findings.strict >= LINES
            };
            let all_done = self.programs.iter().zip(&findings).all(is_done);
            if (all_done && self.equals_ss()) || began.elapsed() > end {
                return self.conclude(findings, limits);
            }
        }
    }

    /// Compares the lines since the last reading, if no socket has changed since.
    fn compare_lines(&mut self, findings: &mut [Findings], limits: &Limits, began: Instant) {
        let before = self.last.end;
        let is_still = self.read();
        for (program, findings) in self.programs.iter_mut().zip(findings) {
            let lines = program.take_lines();
            for line in &lines {
                findings.follow_others(line);
            }
            let of_window = |line: &&Line| line.time >= before && line.arrival <= self.last.begin;
            for line in lines.iter().filter(of_window).filter(|_| is_still) {
                let quiet = line.time.duration_since(self.unchanged_since).unwrap_or_default();
                let mut allowed = patience(limits.wrong_within);
                findings.strict += u64::from(quiet >= allowed);
                if self.has_timer_fired {
                    allowed = allowed.max(AFTER_TIMER);
                }
                if program.scope == Scope::All {
                    allowed = allowed.max(OF_ALL);
                }
                findings.exact_after = findings.exact_after.or_else(|| {
                    let truth = self.last.counts(program.scope.family());
                    let is_right = line.is_exact && line.differences(&truth).is_empty();
                    is_right.then(|| began.elapsed())
                });
                findings.add(line, &self.last, program.scope, quiet, quiet < allowed);
            }
        }
    }

    /// Ends the programs and compares their end lines. Returns a text for each failure.
    ///
    /// # Panics
    /// Panics if a program fails.
    #[must_use]
    pub fn end(mut self) -> Vec<String> {
        let mut failures = Vec::new();
        for program in std::mem::take(&mut self.programs) {
            let (label, scope) = (program.label.clone(), program.scope);
            self.read();
            let Some(end) = program.end() else { continue };
            let is_still = self.read();
            let differences = end.differences(&self.last.counts(scope.family()));
            if is_still && end.is_exact && !differences.is_empty() {
                let [differences, text] = [differences.join("; "), end.text];
                failures
                    .push(format!("{label}: the end line is exact with {differences}\n  {text}"));
            }
        }
        failures
    }

    /// Replaces all programs by new ones, whose gauges are right again.
    pub fn restart(&mut self) {
        for program in &mut self.programs {
            program.restart();
        }
    }

    /// The kernel's sockets at the last reading.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.last
    }

    /// Reads the sockets. Returns whether they are the sockets of the last reading.
    fn read(&mut self) -> bool {
        let rows = Rows::read();
        let is_still = rows.equal(&self.last);
        if !is_still {
            // The last change was at some time between the two readings.
            self.unchanged_since = rows.begin;
            self.has_timer_fired = true;
        }
        self.last = rows;
        is_still
    }

    /// Waits until each program has printed a line whose cut was after the last reading.
    fn await_lines(&mut self) {
        let since = self.last.end;
        let began = Instant::now();
        for program in &mut self.programs {
            while !program.has_line_since(since) {
                let waited = began.elapsed();
                assert!(
                    waited < patience(Duration::from_secs(20)),
                    "{}: no line in {waited:?}; stderr: {}",
                    program.label,
                    program.stderr()
                );
                thread::sleep(PAUSE);
            }
        }
    }

    /// Returns whether no socket changed while `ss` ran.
    fn equals_ss(&mut self) -> bool {
        let filters: [(&[&str], _); 2] = [(&[], None), (&["-4"], Some(Family::V4))];
        for (filter, family) in filters {
            let ss = truth::ss_filtered(filter);
            let before = self.last.counts(family);
            if !self.read() {
                return false;
            }
            assert_eq!(ss, before, "ss and /proc differ, and no socket changed");
        }
        true
    }

    fn conclude(&mut self, findings: Vec<Findings>, limits: &Limits) -> Comparison {
        let within = patience(limits.exact_within);
        let mut comparison = Comparison::default();
        for (program, mut findings) in self.programs.iter().zip(findings) {
            if findings.has_traffic_elsewhere {
                self.tally.busy += 1;
                comparison.exact_after.push(None);
                continue;
            }
            let mut failure = String::new();
            if let Some([first, last]) = &findings.evidence {
                let Tally { wrong, hidden, .. } = findings.tally;
                let _ = write!(
                    failure,
                    "{}: {wrong} lines are exact with a wrong gauge, and {hidden} hide errors; \
                     the first:\n  {first}\nthe last:\n  {last}\n",
                    program.label
                );
            }
            let is_late = findings.exact_after.is_none_or(|after| after > within);
            if program.must_be_exact() && is_late {
                findings.tally.late = 1;
                let _ = write!(
                    failure,
                    "{}: no exact and right line within {within:?}, but after {:?}; {} lines \
                     could be compared; the last of these:\n  {}\n",
                    program.label,
                    findings.exact_after,
                    findings.tally.compared,
                    findings.last.unwrap_or_default(),
                );
            }
            self.tally += findings.tally;
            comparison.exact_after.push(findings.exact_after);
            if !failure.is_empty() {
                comparison.failures.push(failure);
            }
        }
        comparison
    }
}

impl Findings {
    /// Compares the other namespaces of a line with those of the last line.
    fn follow_others(&mut self, line: &Line) {
        let last = self.elsewhere.replace(line.elsewhere.clone());
        self.has_traffic_elsewhere |= last.is_some_and(|last| last != line.elsewhere);
    }

    /// Counts a line during which no socket changed.
    fn add(&mut self, line: &Line, rows: &Rows, scope: Scope, quiet: Duration, may_be_wrong: bool) {
        let truth = rows.counts(scope.family());
        let differences = line.differences(&truth);
        self.tally.compared += 1;
        self.tally.exact += u64::from(line.is_exact);
        let evidence =
            format!("[{}] after {quiet:?} of quiet: {}", differences.join("; "), line.text);
        self.last = Some(evidence.clone());
        if differences.is_empty() {
            return;
        }
        let (count, is_failure) = match line.is_exact {
            true if may_be_wrong => (&mut self.tally.early, false),
            true => (&mut self.tally.wrong, true),
            // Beside namespaces that cannot be entered, no line of all namespaces is exact.
            false if may_be_wrong && scope == Scope::All => (&mut self.tally.admitted, false),
            false if line.hides_errors(&truth) => (&mut self.tally.hidden, true),
            false => (&mut self.tally.admitted, false),
        };
        *count += 1;
        match &mut self.evidence {
            _ if !is_failure => {}
            Some([_, last]) => *last = evidence,
            none => *none = Some([evidence.clone(), evidence]),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, exact, wrong, early, hidden, admitted, late, busy } = self;
        write!(
            f,
            "{compared} lines compared, {exact} exact, {wrong} of these wrong, {early} wrong soon \
             after traffic; of the others {hidden} hide errors, {admitted} admit errors; {late} \
             times no exact line in time, {busy} times not compared beside busy namespaces"
        )
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.compared += other.compared;
        self.exact += other.exact;
        self.wrong += other.wrong;
        self.early += other.early;
        self.hidden += other.hidden;
        self.admitted += other.admitted;
        self.late += other.late;
        self.busy += other.busy;
    }
}
