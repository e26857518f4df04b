//! Scripted lifetimes of TCP sockets, with checkpoints at which no packet is in flight.
//!
//! ```text
//! connect, shutdown, reset ... -> sockets reach the expected states -> checkpoint -> ... -> closed
//! ```
//!
//! The numbers of connections are primes, so a wrong sum cannot look right by chance.

mod close;
mod connect;
mod extensions;
mod listen;
mod orphans;
mod requests;
mod reset;
mod stage;
mod time_wait;

use std::env;

pub(crate) use self::stage::Stage;
use crate::traffic::Family;

/// The caller's action at a checkpoint: the caller compares tcpstate's numbers with the truth.
pub trait Checkpoints {
    /// A path calls this function when no socket changes its state. `label` names the path and the
    /// checkpoint.
    fn check(&mut self, label: &str);
}

impl<F: FnMut(&str)> Checkpoints for F {
    fn check(&mut self, label: &str) {
        self(label);
    }
}

/// One scripted lifetime.
#[derive(Debug)]
pub struct Path {
    /// The name of the path in labels and messages.
    pub name: &'static str,
    families: &'static [Family],
    script: fn(&mut Stage<'_>),
}

impl Path {
    /// Runs the path in the thread's namespace, for each of its families. The last checkpoint of
    /// each run is after all sockets are closed.
    ///
    /// The namespace may contain other sockets if these sockets stay in their states.
    ///
    /// # Panics
    /// Panics if the sockets do not reach the states that the script expects.
    pub fn run(&self, checkpoints: &mut dyn Checkpoints) {
        for &family in self.families {
            let mut stage = Stage::new(self.name, family, checkpoints);
            (self.script)(&mut stage);
            stage.check("all closed", &[]);
        }
    }

    /// Creates a path whose script has sockets of both families, so that the path waits only once.
    const fn of_both_families(name: &'static str, script: fn(&mut Stage<'_>)) -> Self {
        Self { name, families: &[Family::V4], script }
    }

    const fn of_each_family(name: &'static str, script: fn(&mut Stage<'_>)) -> Self {
        Self { name, families: &Family::BOTH, script }
    }

    /// Creates a path whose script makes IPv4 clients itself.
    const fn of_ipv6(name: &'static str, script: fn(&mut Stage<'_>)) -> Self {
        Self { name, families: &[Family::V6], script }
    }
}

/// Paths that wait for a minute. Tests run several long paths at the same time, each path in its
/// own namespace.
pub const LONG: &[Path] =
    &[Path::of_both_families("orphans and TIME_WAIT expire", time_wait::expire)];

/// The variable that names the paths of [`chosen`], separated by commas.
const CHOSEN: &str = "TCPSTATE_TEST_PATHS";

/// Returns the paths to run: all paths except the long paths. A run with a seeded fault selects
/// only the paths that show the fault.
///
/// # Panics
/// Panics if a name does not belong to a path.
#[must_use]
pub fn chosen() -> Vec<&'static Path> {
    let Ok(names) = env::var(CHOSEN) else { return ALL.iter().collect() };
    let path_of = |name: &str| ALL.iter().find(|path| path.name == name);
    names.split(',').map(|name| path_of(name).unwrap_or_else(|| panic!("no path {name}"))).collect()
}

/// All paths except the long paths.
pub const ALL: &[Path] = &[
    Path::of_each_family("active close", close::active),
    Path::of_each_family("passive close", close::passive),
    Path::of_each_family("half-close", close::half),
    Path::of_each_family("unacknowledged FIN", close::unacknowledged),
    Path::of_each_family("simultaneous close", close::simultaneous),
    Path::of_each_family("racing shutdowns", close::racing),
    Path::of_each_family("many short connections", close::many_short),
    Path::of_each_family("orphan gets data", orphans::gets_data),
    Path::of_each_family("orphan expires", orphans::expires),
    Path::of_each_family("orphan stays full", orphans::stays_full),
    Path::of_each_family("orphan gets FIN at once", orphans::gets_fin_at_once),
    Path::of_each_family("orphan gets FIN late", orphans::gets_fin_late),
    Path::of_each_family("orphan gets RST", orphans::gets_reset),
    Path::of_each_family("no room for TIME_WAIT", time_wait::no_room),
    Path::of_each_family("room for some TIME_WAIT", time_wait::room_for_some),
    Path::of_each_family("TIME_WAIT reused by connect", time_wait::reused_by_connect),
    Path::of_each_family("TIME_WAIT gets FIN again", time_wait::gets_fin_again),
    Path::of_each_family("TIME_WAIT gets RST", time_wait::gets_reset),
    Path::of_each_family("mini sockets destroyed", time_wait::destroyed),
    Path::of_each_family("TIME_WAIT taken over", time_wait::taken_over),
    Path::of_each_family("reset by linger", reset::by_linger),
    Path::of_each_family("reset by unread data", reset::by_unread_data),
    Path::of_each_family("reset of half-closed", reset::of_half_closed),
    Path::of_each_family("reset before accept", reset::before_accept),
    Path::of_each_family("connect refused", connect::refused),
    Path::of_each_family("connect timed out", connect::timed_out),
    Path::of_each_family("connect abandoned", connect::abandoned),
    Path::of_each_family("ports exhausted", connect::ports_exhausted),
    Path::of_each_family("socket reused", connect::socket_reused),
    Path::of_each_family("self-connect", connect::to_itself),
    Path::of_each_family("simultaneous open", connect::simultaneous),
    Path::of_each_family("never accepted", listen::never_accepted),
    Path::of_each_family("accept queue full", listen::queue_full),
    Path::of_each_family("half-open", requests::half_open),
    Path::of_each_family("half-open expires", requests::half_open_expires),
    Path::of_each_family("SYN cookies", requests::syn_cookies),
    Path::of_each_family("SYN flood", requests::flood),
    Path::of_each_family("SYN backlog full", requests::backlog_full),
    Path::of_each_family("last ACK finds the queue full", requests::accept_queue_full),
    Path::of_each_family("accept deferred", requests::deferred),
    Path::of_each_family("half-open, listener closed", requests::listener_closed),
    Path::of_each_family("half-open, listener replaced", requests::migrated),
    Path::of_ipv6("dual-stack listener", listen::dual_stack),
    Path::of_ipv6("IPv6-only listener", listen::v6_only),
    Path::of_each_family("listener stops and starts", listen::stops_and_starts),
    Path::of_each_family("listen refused", listen::refused),
    Path::of_each_family("listener closed under connects", listen::closed_under_connects),
    Path::of_each_family("fast open", extensions::fast_open),
    Path::of_each_family("repair", extensions::repair),
    Path::of_each_family("MPTCP", extensions::mptcp),
];
