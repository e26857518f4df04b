//! The flags that `--replay` refuses, because these flags apply only to a live kernel.

/// The refused flags of all commands that show recordings: the interval and the limits of a run,
/// the network namespace, the new recording, and the filters.
const SHARED: [&str; 20] = [
    "interval",
    "duration",
    "count",
    "netns",
    "record",
    "pid",
    "comm",
    "min_duration",
    "family",
    "port",
    "local_port",
    "remote_port",
    "address",
    "local",
    "remote",
    "state",
    "transition",
    "uid",
    "cgroup",
    "program",
];

/// Returns all refused flags of a command. `own` contains the refused flags that only this command
/// has.
pub(super) fn with(own: &[&'static str]) -> impl Iterator<Item = &'static str> {
    SHARED.iter().chain(own).copied()
}

/// Asserts that each flag of a command is refused, or is known to work with a recording.
#[cfg(test)]
pub(super) fn assert_complete<A: clap::Args>(own: &[&'static str], of_views: &[&'static str]) {
    use std::collections::BTreeSet;

    let of_recordings = ["replay", "speed", "from", "until", "max_replay_memory"];
    // These flags require `--record` or a program, which a replay refuses.
    let implied = ["max_record_size", "max_record_files", "record_mode", "user", "only_it"];
    let known: BTreeSet<&str> =
        with(own).chain(of_views.iter().copied()).chain(of_recordings).chain(implied).collect();
    let command = A::augment_args(clap::Command::new("any"));
    let flags: BTreeSet<&str> =
        command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
    assert_eq!(flags, known);
}
