//! Scripted lifetimes of TCP sockets that end at random moments, while tcpstate counts them.
//!
//! ```text
//! seed -> lifetimes: an opening, uses, a closing, a moment and a kind of death
//! batch of lifetimes -> no packet moves -> each line of tcpstate == the kernel's sockets ?
//! ```
//!
//! The kernel under test has one end of each connection. A process of the lifetime has the sockets
//! ([`app`]), and the peer is made of segments on a tun device ([`peer`]). After a batch, the
//! peers are silent and the processes wait. Only the kernel's timers end sockets then, so the lines
//! can be compared ([`lines`](crate::lines)).
//!
//! Equal seeds give equal scripts. The scheduling of the processes is not part of the seed.

mod app;
mod closings;
mod lifetime;
mod odd;
mod openings;
mod peer;
mod sockets;

use std::{
    collections::BTreeSet,
    env, fmt, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use self::{
    app::App,
    closings::CLOSINGS,
    lifetime::{Lifetime, Step},
    odd::SCRIPTS,
    openings::{OPENINGS, USES},
};
use crate::{
    lines::{Limits, Lines, Program, Tally},
    netns::sysctl,
    random::Random,
    traffic::Wire,
};

/// The variable with the seed of a run. Without it, each run has another seed, which it prints.
const SEED: &str = "TCPSTATE_TEST_SEED";
/// The variable that replaces the number of lifetimes.
const LIFETIMES: &str = "TCPSTATE_TEST_LIFETIMES";
/// After a batch, each program must print an exact line within this time, and no exact line may
/// ever be wrong.
pub const LIMITS: Limits =
    Limits { exact_within: Duration::from_secs(10), wrong_within: Duration::ZERO };
/// The number of failed batches after which a run ends.
const MOST_FAILURES: usize = 20;
/// The numbers of parts of the seed from here on are those of batches.
const BATCHES: u64 = 1 << 32;

/// Parts that happen only if the kernel allows them at that moment.
const RARE: [&str; 3] = ["Fast Open", "IPV6_ADDRFORM", "TIME_WAIT reused by connect"];

/// Sysctls that make lifetimes end quickly, and that allow the scripts.
const SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.tcp_fin_timeout", "3"),
    ("net.ipv4.tcp_synack_retries", "1"),
    ("net.ipv4.tcp_syn_retries", "1"),
    ("net.ipv4.tcp_orphan_retries", "2"),
    ("net.ipv4.tcp_retries2", "3"),
    // Clients and listeners use Fast Open without cookies.
    ("net.ipv4.tcp_fastopen", "0x207"),
];

/// Sysctls whose value each batch draws. A frequent value is listed several times.
const DRAWN: &[(&str, &[&str])] = &[
    ("net.ipv4.tcp_syncookies", &["0", "0", "1", "1", "1", "2"]),
    ("net.ipv4.tcp_tw_reuse", &["0", "1"]),
    ("net.ipv4.tcp_rfc1337", &["0", "0", "0", "1"]),
    ("net.ipv4.tcp_abort_on_overflow", &["0", "0", "1"]),
    ("net.ipv4.tcp_max_tw_buckets", &["131072", "131072", "131072", "131072", "131072", "1"]),
];

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    seed: u64,
    lifetimes: u64,
    batches: u64,
    failed_batches: u64,
    tally: Tally,
    /// The times until all programs had printed an exact line, one for each batch.
    exact_after: Vec<Duration>,
    took: Duration,
    /// The parts of the scripts that ran to their ends in at least one lifetime.
    completed: BTreeSet<&'static str>,
    failures: Vec<String>,
}

/// Runs this number of lifetimes in the thread's namespace, while these programs count them.
/// Returns `None` and prints the cause if there are no tun devices.
///
/// # Panics
/// Panics if a program under test ends.
#[must_use]
pub fn run(programs: Vec<Program>, lifetimes: u64) -> Option<Report> {
    run_within(programs, lifetimes, LIMITS)
}

/// Runs lifetimes as [`run`] does, with other limits.
///
/// # Panics
/// Panics if a program under test ends.
#[must_use]
pub fn run_within(programs: Vec<Program>, lifetimes: u64, limits: Limits) -> Option<Report> {
    let skip = |error| println!("skipped: no tun device: {error}");
    let wire = Wire::open().map_err(skip).ok()?;
    for (name, value) in SYSCTLS {
        sysctl(name, value);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number(SEED).unwrap_or_else(|| now.subsec_nanos().into());
    let lifetimes = number(LIFETIMES).unwrap_or(lifetimes);
    println!("{SEED}={seed} {LIFETIMES}={lifetimes}");
    let mut report = Report { seed, ..Report::default() };
    let mut lines = Lines::new(programs);
    let began = Instant::now();
    while report.lifetimes < lifetimes && report.failures.len() < MOST_FAILURES {
        batch(&wire, &mut lines, &mut report, lifetimes, &limits);
    }
    // Here are the sockets that live longer than their processes.
    let last = lines.compare(&limits);
    report.failures.extend(last.failures);
    report.tally = lines.tally;
    report.failures.extend(lines.end());
    report.took = began.elapsed();
    Some(report)
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Runs some lifetimes at the same time, and compares the lines afterwards.
fn batch(wire: &Wire, lines: &mut Lines, report: &mut Report, all: u64, limits: &Limits) {
    let mut random = Random::part(report.seed, BATCHES + report.batches);
    for (name, values) in DRAWN {
        sysctl(name, random.pick(values));
    }
    let number = (4 + random.below(13)).min(all - report.lifetimes);
    let numbers = report.lifetimes..report.lifetimes + number;
    let new = |number| Lifetime::new(number, Random::part(report.seed, number), App::start(), wire);
    // The kernel kills a process when the thread that started it ends, so this thread starts all.
    let mut lifetimes: Vec<Lifetime<'_>> = numbers.clone().map(new).collect();
    let results: Vec<Result<(), String>> = thread::scope(|scope| {
        let live = |(life, number)| scope.spawn(move || live(life, number));
        let threads: Vec<_> = lifetimes.iter_mut().zip(numbers).map(live).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
        threads
            .into_iter()
            .map(join)
            .map(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let comparison = lines.compare(limits);
    report.lifetimes += number;
    report.batches += 1;
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    report.exact_after.extend(comparison.exact_after.iter().flatten().max());
    report.completed.extend(lifetimes.iter().flat_map(|life| &life.completed));
    if !(failed.is_empty() && comparison.failures.is_empty()) {
        report.failed_batches += 1;
        let logs: Vec<String> = lifetimes.iter().map(|life| life.log.join("\n    ")).collect();
        report.failures.push(format!(
            "batch {} of {number} lifetimes\n{}\n{}\n  the lifetimes:\n  {}",
            report.batches,
            failed.join("\n"),
            comparison.failures.join("\n"),
            logs.join("\n  ")
        ));
        // The next batch must not inherit the failure.
        lines.restart();
    }
    for life in &mut lifetimes {
        if random.once_in(2) { life.app.exit() } else { life.app.kill() }
    }
}

/// Draws and runs the script of a lifetime.
fn live(life: &mut Lifetime<'_>, number: u64) -> Result<(), String> {
    /// One lifetime in this number has no ordinary connection.
    const ODD: u64 = 4;
    life.live(|life| {
        if number.is_multiple_of(ODD) {
            let index = usize::try_from(number / ODD).expect("lifetimes are few") % SCRIPTS.len();
            part(life, SCRIPTS[index], |life, script| script(life))
        } else {
            ordinary(life)
        }
    })
    .map_err(|cause| format!("lifetime {number}: {cause}"))
}

/// An opening, up to two uses, and a closing.
fn ordinary(life: &mut Lifetime<'_>) -> Step {
    let opening = life.random.pick(OPENINGS);
    let connection = part(life, opening, |life, opening| opening(life))?;
    for _ in 0..life.random.below(3) {
        let usage = life.random.pick(USES);
        part(life, usage, |life, usage| usage(life, connection))?;
    }
    let closing = life.random.pick(CLOSINGS);
    part(life, closing, |life, closing| closing(life, connection))
}

/// Runs one part of a script, with its name in the log.
fn part<'a, P, T>(
    life: &mut Lifetime<'a>,
    (name, script): (&'static str, P),
    run: impl FnOnce(&mut Lifetime<'a>, P) -> Step<T>,
) -> Step<T> {
    life.log.push(format!("{name}:"));
    let result = run(life, script)?;
    life.completed.push(name);
    Ok(result)
}

impl Report {
    /// Prints the numbers of the run.
    ///
    /// # Panics
    /// Panics if a comparison or a script failed.
    pub fn assert(&self) {
        println!("{self}");
        assert!(
            self.failures.is_empty(),
            "{self}\nrepeat with {SEED}={}\n{}",
            self.seed,
            self.failures.join("\n\n")
        );
    }

    /// Checks that the lifetimes were long enough: each part of the scripts ran to its end.
    ///
    /// # Panics
    /// Panics if a part never ran to its end.
    pub fn assert_all_parts_completed(&self) {
        let names = OPENINGS.iter().map(|it| it.0).chain(USES.iter().map(|it| it.0));
        let names =
            names.chain(CLOSINGS.iter().map(|it| it.0)).chain(SCRIPTS.iter().map(|it| it.0));
        let missing: Vec<&str> =
            names.chain(RARE).filter(|name| !self.completed.contains(name)).collect();
        assert!(missing.is_empty(), "no life completed these parts: {missing:?}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.exact_after.iter().max().copied().unwrap_or_default();
        let total: Duration = self.exact_after.iter().sum();
        let mean = total / u32::try_from(self.exact_after.len().max(1)).expect("they are few");
        write!(
            f,
            "{} lifetimes in {} batches, {:.1} s: {}; {} batches failed; exact after {mean:.0?} on \
             average, {longest:.0?} at most",
            self.lifetimes,
            self.batches,
            self.took.as_secs_f64(),
            self.tally,
            self.failed_batches
        )
    }
}
