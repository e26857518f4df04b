//! What is asked of a kernel, and so of no recording: the flags that `--replay` refuses.

/// Of every command that shows recordings: the pace, the namespace, a recording to write, and what
/// is filtered by.
const SHARED: [&str; 19] = [
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
];

/// All of a command, of which these are its own.
pub(super) fn with(own: &[&'static str]) -> impl Iterator<Item = &'static str> {
    SHARED.iter().chain(own).copied()
}

/// Holds that a command has no flag that is neither refused nor known to be of what is shown.
#[cfg(test)]
pub(super) fn assert_complete<A: clap::Args>(own: &[&'static str], of_views: &[&'static str]) {
    use std::collections::BTreeSet;

    let of_recordings = ["replay", "speed", "from", "until"];
    // These ask for what is among those.
    let implied = ["max_record_size", "max_record_files"];
    let known: BTreeSet<&str> =
        with(own).chain(of_views.iter().copied()).chain(of_recordings).chain(implied).collect();
    let command = A::augment_args(clap::Command::new("any"));
    let flags: BTreeSet<&str> =
        command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
    assert_eq!(flags, known);
}
