//! A tracer under test, and the comparison of its gauges with the truth. The file is long because
//! every kind of count is compared with a source of its own.

use std::{env, fmt, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use tcpstate::{
    error::Help as _,
    explain,
    probe::{Error, Netns, Options, Probe, Testing},
    report::{Family, Gauge, Hooks, Minis, NamespaceRow, Snapshot, TimeWait},
    tracer::Tracer,
};
use tcpstate_common::State;

use crate::{audit::Audit, traffic, truth, wait};

/// The environment variable that names an object to test instead of the embedded object. Tests with
/// seeded faults use the variable `TCPSTATE_TEST_OBJECT`.
const OBJECT_VARIABLE: &str = "TCPSTATE_TEST_OBJECT";

/// A tracer of the thread's namespace, with an audit of its events. With the audit, a test can
/// distinguish an error of tcpstate from a kernel that withholds events from BPF.
pub struct Traced {
    /// The tracer.
    pub tracer: Tracer,
    /// The audit, which compares tcpstate's events with perf's events. The result of the audit is
    /// correct only while no other program makes traffic.
    audit: Option<Audit>,
    /// The number of missed events at the last comparison.
    missed: u64,
    /// The result of the audit at the last comparison.
    excused: i64,
    /// The sum of all gauge errors, in sockets, without the errors that missed events explain.
    unexplained: u64,
    /// The minimum and the maximum number of time-wait sockets that were created before the tracer
    /// started. The minimum and the maximum differ only if there was traffic.
    births_before: [u64; 2],
    /// The hooks at the start.
    hooks: Hooks,
}

/// Returns options with the object under test.
///
/// # Panics
/// Panics if the object cannot be read.
#[must_use]
pub fn options() -> Options {
    Options { testing: testing(), ..Options::default() }
}

/// Returns options for tests only, with the object under test.
///
/// # Panics
/// Panics if the object cannot be read.
#[must_use]
pub fn testing() -> Testing {
    let object = env::var_os(OBJECT_VARIABLE);
    let read = |path: PathBuf| {
        fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    };
    Testing { object: object.map(PathBuf::from).map(read), ..Testing::default() }
}

impl Traced {
    /// Starts a tracer of the calling thread's namespace.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&options())
    }

    /// Starts a tracer with options.
    ///
    /// # Panics
    /// Panics if the tracer cannot start.
    #[must_use]
    pub fn with(options: &Options) -> Self {
        Self::try_with(options).unwrap_or_else(|error| panic!("{error}; {}", error.help()))
    }

    /// Starts a tracer with options, if the kernel allows it.
    ///
    /// # Errors
    /// Returns the reason why the tracer does not start.
    pub fn try_with(options: &Options) -> Result<Self, Error> {
        let mut traced = Self::start_unaudited(options)?;
        traced.audit = Some(Audit::start(&traced.tracer));
        Ok(traced)
    }

    /// Starts a tracer without an audit, for tests in which other programs make traffic. The tracer
    /// adds up the differences between the gauges and the truth, and does not panic.
    ///
    /// # Panics
    /// Panics if the tracer does not start.
    #[must_use]
    pub fn unaudited(options: &Options) -> Self {
        Self::start_unaudited(options).unwrap_or_else(|error| panic!("{error}; {}", error.help()))
    }

    fn start_unaudited(options: &Options) -> Result<Self, Error> {
        let at_least = time_wait_births();
        let tracer = Tracer::start(options)?;
        let at_most = time_wait_births();
        // If the tracer counts a namespace other than the thread's, no socket of that namespace
        // changes its state while the tracer starts.
        let has_moved = !matches!(options.netns, Netns::Own | Netns::All);
        let births_before = [if has_moved { at_most } else { at_least }, at_most];
        let hooks = tracer.start_report().attached.hooks;
        Ok(Self {
            tracer,
            audit: None,
            missed: 0,
            excused: 0,
            unexplained: 0,
            births_before,
            hooks,
        })
    }

    /// Returns the sum of all gauge errors, in sockets, without the errors that missed events
    /// explain.
    #[must_use]
    pub fn unexplained(&self) -> u64 {
        self.unexplained
    }

    /// Returns the number of transitions on the whole machine since the audit started, counted
    /// without BPF.
    ///
    /// # Panics
    /// Panics if this tracer has no audit.
    pub fn fired(&mut self) -> u64 {
        self.audit.as_mut().expect("the caller asked for an audit").fired()
    }

    /// Returns the number of events on the whole machine that the kernel has withheld from BPF
    /// since the audit started, without reporting the loss.
    ///
    /// # Panics
    /// Panics if this tracer has no audit.
    pub fn uncounted(&mut self) -> u64 {
        let audit = self.audit.as_mut().expect("the caller asked for an audit");
        audit.uncounted(&self.tracer).unsigned_abs()
    }

    /// Returns the numbers of lost events: the events without a line, the events that a program
    /// missed, and the events that only the audit finds. If two calls return equal values, no event
    /// was lost between the calls. Events must be enabled.
    ///
    /// # Panics
    /// Panics if the snapshot cannot be taken, or if this tracer has no audit.
    pub fn lost(&mut self) -> (u64, u64, u64) {
        let snapshot = self.snapshot();
        let losses = snapshot.losses.expect("events are asked for");
        (losses.lines(), snapshot.missed.total(), self.uncounted())
    }

    /// Takes a snapshot.
    ///
    /// # Panics
    /// Panics if the snapshot cannot be taken.
    pub fn snapshot(&mut self) -> Snapshot {
        self.tracer.snapshot().expect("a snapshot can be taken")
    }

    /// Runs a scan.
    ///
    /// # Panics
    /// Panics if the scan fails.
    pub fn reconcile(&mut self) {
        self.tracer.reconcile().expect("a scan can be made");
    }

    /// Asserts that each gauge equals the number of sockets in its state, and that both ways of
    /// counting agree. No socket may change its state during this call.
    ///
    /// The function accepts a difference if missed events since the last comparison explain the
    /// difference, and if one scan removes the difference. Any difference that missed events do not
    /// explain is an error in tcpstate.
    ///
    /// # Panics
    /// Panics if a gauge differs.
    pub fn assert_equal(&mut self, label: &str) {
        let inspect = self.inspect();
        let snapshot = &inspect.snapshot;
        // An audit may also find that a namespace cannot be entered any more.
        let hooks = snapshot.attached.as_ref().map(|attached| attached.hooks);
        let is_kept = hooks.is_none_or(|hooks| hooks == self.hooks);
        assert!(is_kept, "{label}: replaced hooks: {:?}", snapshot.attached);
        assert_flows_match_transitions(snapshot, label);
        assert_transitions_are_explained(snapshot, label);
        // The comparison does not use the field `unreconciled`, because the field also counts
        // losses that tcpstate inferred from differences. An error in tcpstate also causes
        // differences.
        let missed = snapshot.missed.total();
        let mut lost = missed - self.missed;
        self.missed = missed;
        if let Some(audit) = &mut self.audit {
            let uncounted = audit.uncounted(&self.tracer);
            lost += (uncounted - self.excused).unsigned_abs();
            self.excused = uncounted;
        }
        self.assert_time_wait(&inspect, label, lost);
        let Err(difference) = inspect.compared else { return };
        // Each lost event makes at most two gauges wrong by one.
        let unexplained = difference.sockets.saturating_sub(2 * lost);
        assert!(
            unexplained == 0 || self.audit.is_none(),
            "{label}: {difference}, and {lost} events were lost"
        );
        self.unexplained += unexplained;
        println!("{label}: {difference}, and {lost} events were lost: one scan");
        self.reconcile();
        if let Err(difference) = self.inspect().compared {
            panic!("{label}: {difference}, after a scan too");
        }
    }

    /// Compares every gauge with the truth.
    ///
    /// # Errors
    /// Returns the gauges that differ from the truth.
    pub fn compare(&mut self) -> Result<(), Difference> {
        self.inspect().compared
    }

    /// Takes a snapshot and counts the sockets without BPF. If a socket changes its state between
    /// the snapshot and the count, the function repeats the snapshot and the count. On a slow
    /// machine, a timer may expire or a packet may arrive between the snapshot and the count.
    fn inspect(&mut self) -> Inspection {
        /// If two counts of the kernel differ in every attempt, the function returns the difference
        /// to the caller.
        const ATTEMPTS: u32 = 100;
        let truth = || (truth::sockets(), truth::sockstat().tw);
        let family = self.tracer.probe().family;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let before = truth();
            wait::grace_period();
            let snapshot = self.snapshot();
            let compared = compare(&snapshot, self.tracer.probe());
            let listed = sockets_here(family).minis.total();
            let births = time_wait_births();
            let (sockets, counted) = before;
            let listed_of_both = sockets.minis.total();
            let is_at_rest = truth() == before && listed_of_both == counted;
            if is_at_rest || attempt == ATTEMPTS {
                return Inspection { snapshot, compared, listed, listed_of_both, counted, births };
            }
        }
    }

    /// Asserts that tcpstate's number of time-wait sockets, and the number of births of time-wait
    /// sockets since the tracer started, equal the kernel's counts. The number of births may differ
    /// from the kernel's count by at most `kept`, the number of events that the kernel withheld
    /// from the programs.
    fn assert_time_wait(&mut self, inspect: &Inspection, label: &str, kept: u64) {
        let (_, time_wait) = here(&inspect.snapshot);
        let Some(sockets) = time_wait.sockets else { return };
        let family = self.tracer.probe().family;
        assert_eq!(inspect.counted, inspect.listed_of_both, "{label}: the kernel's two counts");
        if inspect.compared.is_ok() {
            assert_eq!(sockets, inspect.listed, "{label}: time-wait sockets");
        }
        let counts_births = self.tracer.probe().kernel.counts_time_wait_births();
        // The kernel has one count of births for both families.
        let is_comparable = counts_births && family.is_none();
        let Some(entries) = time_wait.entries.filter(|_| is_comparable) else { return };
        let [most, least] = self.births_before.map(|before| inspect.births - before);
        let off = entries.saturating_sub(most) + least.saturating_sub(entries);
        let lost = off.saturating_sub(kept);
        let difference = format!(
            "{label}: {entries} births of time-wait sockets, the kernel has {least} to {most}"
        );
        assert!(lost == 0 || self.audit.is_none(), "{difference}");
        if off > 0 {
            println!("{difference}; {kept} events were lost");
        }
        self.unexplained += lost;
        // No socket changes its state now, so the number of births before the tracer started is
        // known exactly.
        self.births_before = [inspect.births.wrapping_sub(entries); 2];
    }
}

/// A snapshot, and the kernel's counts at the time of the snapshot.
struct Inspection {
    snapshot: Snapshot,
    compared: Result<(), Difference>,
    /// The number of time-wait sockets in the kernel's list, of the tracer's family.
    listed: u64,
    /// The number of time-wait sockets in the kernel's list, of both families.
    listed_of_both: u64,
    /// The number of time-wait sockets in the kernel's counter.
    counted: u64,
    /// The number of births of time-wait sockets in the kernel's counters.
    births: u64,
}

/// Returns the sum of the kernel's counters `TW` and `TWKilled`. Since Linux 5.18 these counters
/// count births of time-wait sockets, and on older kernels expiries.
fn time_wait_births() -> u64 {
    truth::tcp_ext("TW") + truth::tcp_ext("TWKilled")
}

/// The gauges that differ from the truth.
#[derive(Debug)]
pub struct Difference {
    /// The sum of all differences, in sockets.
    pub sockets: u64,
    states: Vec<(State, i64, i64)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self
            .states
            .iter()
            .map(|(state, gauge, truth)| format!("{state} is {gauge}, the kernel has {truth}"));
        f.write_str(&states.collect::<Vec<_>>().join("; "))
    }
}

/// Returns the gauges of the thread's namespace. If the snapshot has one row for each namespace,
/// the gauges are from the row of the thread's namespace. A snapshot without such rows covers only
/// the thread's namespace.
#[must_use]
pub fn here(snapshot: &Snapshot) -> ([Gauge; 10], TimeWait) {
    let Some(rows) = &snapshot.namespaces else { return (snapshot.states, snapshot.time_wait) };
    row_of(rows, inode()).map_or_else(
        // A namespace that the snapshot does not contain never had a socket.
        || {
            let none =
                |_| Gauge { current: Some(0), entered: Some(0), left: Some(0), corrected: Some(0) };
            let nothing = TimeWait { sockets: Some(0), entries: Some(0), ..TimeWait::default() };
            (State::GAUGES.map(none), nothing)
        },
        |row| (row.states, row.time_wait),
    )
}

/// Returns the inode of the thread's namespace.
pub(crate) fn inode() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("procfs is mounted").ino()
}

/// Returns the counts of the namespace with this inode, if the namespace still exists.
#[must_use]
pub fn row_of(rows: &[NamespaceRow], inode: u64) -> Option<&NamespaceRow> {
    rows.iter().find(|row| row.netns == inode && !row.is_gone)
}

/// Returns the sockets of the thread's namespace, of one family or of both.
fn sockets_here(family: Option<Family>) -> truth::Sockets {
    match family {
        None => truth::sockets(),
        Some(Family::V4) => truth::sockets_of(traffic::Family::V4),
        Some(Family::V6) => truth::sockets_of(traffic::Family::V6),
    }
}

/// Compares every gauge of the thread's namespace with the truth. If families are counted
/// separately, the function also compares the gauges of each family. Mini sockets are compared only
/// if a provider counts them.
///
/// # Errors
/// Returns the gauges that differ from the truth.
pub fn compare(snapshot: &Snapshot, probe: &Probe) -> Result<(), Difference> {
    let (states, _) = here(snapshot);
    compare_gauges(&states, &sockets_here(probe.family), probe)?;
    for (family, row) in Family::BOTH.into_iter().zip(snapshot.families.iter().flatten()) {
        compare_gauges(&row.states, &sockets_here(Some(family)), probe)?;
    }
    Ok(())
}

fn compare_gauges(
    gauges: &[Gauge; 10],
    sockets: &truth::Sockets,
    probe: &Probe,
) -> Result<(), Difference> {
    let truth = |state: State| {
        let requests = if state == State::SynRecv { sockets.requests } else { 0 };
        let seen = |minis: Minis, sockets: u64| {
            if probe.provider(minis).is_exact() { sockets } else { 0 }
        };
        sockets.full[state]
            + seen(Minis::TimeWait, sockets.minis[state])
            + seen(Minis::SynRecv, requests)
    };
    let gauges = State::GAUGES
        .into_iter()
        .zip(gauges)
        .filter_map(|(state, gauge)| Some((state, gauge.current?, truth(state).cast_signed())));
    let states: Vec<_> = gauges.filter(|(_, gauge, truth)| gauge != truth).collect();
    if states.is_empty() {
        return Ok(());
    }
    let sockets = states.iter().map(|(_, gauge, truth)| gauge.abs_diff(*truth)).sum();
    Err(Difference { sockets, states })
}

/// Asserts that `entered` and `left` of each state equal the sums of the transition matrix.
/// SYN_RECV and TIME_WAIT are excluded, because they contain mini sockets. In FIN_WAIT2 only
/// `entered` is compared, because mini sockets also leave FIN_WAIT2. An event from a state to the
/// same state counts neither as entered nor as left.
fn assert_flows_match_transitions(snapshot: &Snapshot, label: &str) {
    let gauges = State::GAUGES.into_iter();
    for state in gauges.filter(|state| !matches!(state, State::SynRecv | State::TimeWait)) {
        let Some(Gauge { entered: Some(entered), left: Some(left), .. }) = snapshot.gauge(state)
        else {
            continue;
        };
        let others = || State::ALL.into_iter().filter(|&other| other != state);
        let came: u64 = others().map(|from| snapshot.count(from, state)).sum();
        // A listener stays in LISTEN when its child is born, so the transition from LISTEN to
        // SYN_RECV does not leave LISTEN.
        let is_move = |to: &State| (state, *to) != (State::Listen, State::SynRecv);
        let went: u64 = others().filter(is_move).map(|to| snapshot.count(state, to)).sum();
        assert_eq!(entered, came, "{label}: entered {state}, by its counter and by the matrix");
        if state != State::FinWait2 {
            assert_eq!(left, went, "{label}: left {state}, by its counter and by the matrix");
        }
    }
}

/// Asserts that `explain` knows every transition that occurred.
fn assert_transitions_are_explained(snapshot: &Snapshot, label: &str) {
    for pair in &snapshot.transitions {
        let (from, to) = (pair.from, pair.to);
        let is_explained = explain::transition(from, to).is_some();
        assert!(is_explained, "{label}: {from} -> {to} is not explained");
    }
}
