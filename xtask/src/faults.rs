//! Faults seeded into the kernel half, each of which some test must notice: `cargo xtask test --faults`.
//!
//! A fault is a change of one place of the sources. When the sources change so that a fault no longer applies, a
//! unit test here says so; then mend the entry.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

/// One wrong program.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// What users would see.
    pub(crate) why: &'static str,
    file: &'static str,
    /// Occurs exactly once in `file`.
    find: &'static str,
    replace: &'static str,
    /// Tests of `tcpstate-tests`, by a part of their name; at least one must fail.
    pub(crate) red: &'static [&'static str],
}

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "listener-left-on-clone",
        why: "every accepted connection takes a socket off LISTEN",
        file: "tcpstate-common/src/abi.rs",
        find: "|| (from == State::Listen as usize && to == State::SynRecv as usize)",
        replace: "|| { let _ = to; false }",
        red: &["gauges_equal"],
    },
    Fault {
        name: "self-transition-counted",
        why: "an event that moves nothing counts as entering and leaving",
        file: "tcpstate-ebpf/src/count.rs",
        find: "if from != to {",
        replace: "if from != to || from == to {",
        red: &["gauges_equal"],
    },
    Fault {
        name: "mptcp-counted",
        why: "master sockets of MPTCP, which ss does not list as TCP, are counted",
        file: "tcpstate-ebpf/src/sock.rs",
        find: "protocol == IPPROTO_TCP",
        replace: "(protocol == IPPROTO_TCP || protocol == 262)",
        red: &["gauges_equal"],
    },
    Fault {
        name: "netns-filter-off",
        why: "the counts of one network namespace contain the sockets of all",
        file: "tcpstate-ebpf/src/sock.rs",
        find: "let scope = config!(netns);",
        replace: "let scope = config!(netns) & 0;",
        red: &["program_counts_its_own_namespace_only"],
    },
    Fault {
        name: "families-swapped",
        why: "IPv6's sockets are shown as IPv4's, and the other way round",
        file: "tcpstate-ebpf/src/families.rs",
        find: "== AF_INET6",
        replace: "!= AF_INET6",
        red: &["serving_is_exact"],
    },
    Fault {
        name: "no-gate",
        why: "a socket that moves before the iterator comes to it enters the base in its new state",
        file: "tcpstate-ebpf/src/count.rs",
        find: "if control & CONTROL_GATE != 0 {",
        replace: "if control & CONTROL_GATE != 0 && false {",
        red: &["pass_counts"],
    },
    Fault {
        name: "birth-in-base",
        why: "sockets born during a pass count as if they had been there before",
        file: "tcpstate-ebpf/src/pass.rs",
        find: "&& !is_birth(from, to)",
        replace: "&& (!is_birth(from, to) || is_birth(from, to))",
        red: &["pass_counts_sockets_born"],
    },
    Fault {
        name: "no-tombstone",
        why: "a socket that moved and is then visited counts to the base twice",
        file: "tcpstate-ebpf/src/pass.rs",
        find: "if touch(books.slots, address, By::Event) == Touch::First",
        // Looks without leaving an entry.
        replace: "if TOUCHED.get(0).is_some_and(|touched| touched.get_ptr(address).is_none())",
        red: &["pass_counts"],
    },
    Fault {
        name: "plain-add",
        why: "additions of programs that interrupt each other on one CPU get lost",
        file: "tcpstate-ebpf/src/count.rs",
        find: "atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, number)",
        replace: "counter.write_volatile(counter.read_volatile().wrapping_add(number))",
        red: &["program_holds_an_atomic_addition"],
    },
    Fault {
        name: "substate-ignored",
        why: "orphans in FIN_WAIT2 count as TIME_WAIT",
        file: "tcpstate-ebpf/src/sock.rs",
        find: "usize::from(self.load::<u8>(config!(minis.tw_substate)))",
        replace: "usize::from(self.load::<u8>(config!(minis.tw_substate))) & 0 | 6",
        red: &["gauges_equal"],
    },
    Fault {
        name: "rearm-is-entry",
        why: "a time-wait socket that gets a packet counts as another one",
        file: "tcpstate-ebpf/src/timers.rs",
        find: "if last.timer == timer as u64 &&",
        replace: "if last.timer == timer as u64 && false &&",
        red: &["gauges_equal"],
    },
    Fault {
        name: "requests-ignored",
        why: "half-open connections are not in SYN_RECV",
        file: "tcpstate-ebpf/src/timers.rs",
        find: "if control & CONTROL_SYN_RECV_TIMERS == 0 {",
        replace: "if control & CONTROL_SYN_RECV_TIMERS == 0 || request != 0 {",
        red: &["gauges_equal"],
    },
    Fault {
        name: "expiry-is-exit",
        why: "a time-wait socket whose time is over ends twice",
        file: "tcpstate-ebpf/src/timers.rs",
        find: "minis::count_expiry(Books::of(slots, tw), control);",
        replace: "minis::time_wait_gone(Books::of(slots, tw), control, tw, UNKNOWN_EXIT, false); minis::count_expiry(Books::of(slots, tw), control);",
        red: &["gauges_equal"],
    },
    Fault {
        name: "namespaces-mixed",
        why: "all network namespaces count to one row",
        file: "tcpstate-ebpf/src/books.rs",
        find: "let identity = net.identity();",
        replace: "let identity = net.identity() & 0;",
        red: &["namespaces_rows"],
    },
    Fault {
        name: "gone-unnoticed",
        why: "the rows of namespaces that are gone stay for ever",
        file: "tcpstate-ebpf/src/iterators.rs",
        find: "if net.is_gone() || net.identity() != key.read() {",
        replace: "if net.is_gone() && net.identity() == 0 {",
        red: &["namespaces_gone_take"],
    },
    Fault {
        name: "minis-in-no-row",
        why: "time-wait and request sockets are missing from the rows of namespaces",
        file: "tcpstate-ebpf/src/minis.rs",
        find: "if !books.namespace.is_null() {",
        replace: "if control > 0xffff && !books.namespace.is_null() {",
        red: &["namespaces_rows_equal_the_sockets"],
    },
    Fault {
        name: "family-ignored",
        why: "sockets of the other family are counted too",
        file: "tcpstate-ebpf/src/sock.rs",
        find: "family == 0 || family == u32::from",
        replace: "family == 0 || family != 0 || family == u32::from",
        red: &["families"],
    },
    Fault {
        name: "drop-uncounted",
        why: "an event for which the ring has no room is lost, and nobody is told",
        file: "tcpstate-ebpf/src/events.rs",
        find: "unsafe { add_one_atomically(&raw mut (*losses).dropped) };",
        replace: "let _ = losses;",
        red: &["events_without_room"],
    },
    Fault {
        name: "owner-is-whoever-runs",
        why: "a connection bears the name of the process in whose time a packet came",
        file: "tcpstate-ebpf/src/events.rs",
        find: "if from == close && (to == State::SynSent as usize || to == State::Listen as usize) {",
        replace: "if from != to {",
        red: &["events_of_known"],
    },
    Fault {
        name: "filter-mixes-families",
        why: "a network of IPv6 holds the addresses of IPv4's sockets too",
        file: "tcpstate-ebpf/src/event_filter.rs",
        find: "(is_v6 || network.is_v6 == 0)",
        replace: "(is_v6 || network.is_v6 < 2)",
        red: &["events_that_pass_a_filter"],
    },
    Fault {
        name: "port-given-back",
        why: "a client that ends has no local port",
        file: "tcpstate-ebpf/src/events.rs",
        find: "if port != 0 || from == State::Close as usize {",
        replace: "if port != 0 || from <= 16 {",
        red: &["events_of_known"],
    },
    Fault {
        name: "seats-not-given-back",
        why: "sockets are remembered until so many have come and gone, and then no more",
        file: "tcpstate-ebpf/src/lives.rs",
        find: "(&raw mut (*seat).address).write_volatile(0);\n                compiler_fence(Ordering::Release);\n                take_one_atomically(&raw mut (*seat).claims);",
        replace: "(&raw mut (*seat).address).write_volatile(0);\n                compiler_fence(Ordering::Release);",
        red: &["hist_with_just_enough_room"],
    },
    Fault {
        name: "hist-since-birth",
        why: "each state seems to have lasted since the connection began",
        file: "tcpstate-ebpf/src/hist.rs",
        find: "duration = now - life.since;",
        replace: "duration = now - if life.born == 0 { life.since } else { life.born };",
        red: &["hist_of_sockets_held"],
    },
    Fault {
        name: "hist-missed-event",
        why: "a state during which an event was missed seems to have lasted until the next one",
        file: "tcpstate-ebpf/src/hist.rs",
        find: "if is_same_life(life.state.into(), life.remote_port, from, to, remote_port) {",
        replace: "if is_same_life(life.state.into(), life.remote_port, from, to, remote_port) || to < 64 {",
        red: &["hist_that_misses"],
    },
    Fault {
        name: "hist-bucket-beside",
        why: "durations are in the bucket next to theirs, so percentiles are off by an eighth",
        file: "tcpstate-ebpf/src/histograms.rs",
        find: "let index = bucket_of(ns) & (BUCKET_SLOTS - 1);",
        replace: "let index = (bucket_of(ns) + 1) & (BUCKET_SLOTS - 1);",
        red: &["hist_of_sockets_held"],
    },
];

impl Fault {
    /// Puts the fault into the sources below `root`, and returns what the file was before.
    pub(crate) fn seed(&self, root: &Path) -> Result<String> {
        let path = root.join(self.file);
        let healthy =
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        fs::write(&path, self.faulty(&healthy)?)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(healthy)
    }

    /// Takes the fault out again.
    pub(crate) fn heal(&self, root: &Path, healthy: &str) -> Result<()> {
        let path = root.join(self.file);
        fs::write(&path, healthy).with_context(|| format!("write {}", path.display()))
    }

    fn faulty(&self, healthy: &str) -> Result<String> {
        match healthy.matches(self.find).count() {
            1 => Ok(healthy.replacen(self.find, self.replace, 1)),
            count => bail!(
                "fault {} no longer applies: its text occurs {count} times in {}, expected once: {}",
                self.name,
                self.file,
                self.find
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_applies_to_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let stale: Vec<String> = FAULTS
            .iter()
            .filter_map(|fault| {
                let healthy =
                    fs::read_to_string(root.join(fault.file)).expect("a fault names a file");
                fault.faulty(&healthy).err().map(|error| error.to_string())
            })
            .collect();
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }

    #[test]
    fn a_text_that_occurs_twice_is_refused() {
        let fault = &FAULTS[0];
        let error = fault.faulty(&fault.find.repeat(2)).expect_err("twice is once too often");
        assert!(
            error.to_string().starts_with("fault listener-left-on-clone no longer applies"),
            "{error}"
        );
    }

    #[test]
    fn every_fault_changes_something_and_names_its_tests() {
        for fault in FAULTS {
            assert_ne!(fault.find, fault.replace, "{}", fault.name);
            assert!(!fault.red.is_empty(), "{}", fault.name);
        }
    }
}
