//! Which tests the gate leaves to `cargo xtask test --all` and to `cargo xtask vm`, for lack of time.

/// Parts of names.
pub(super) const LEFT_OUT: &[&str] = &[
    // These ask the kernel without BPF.
    "count_",
    "doctor_",
    "truths_agree",
    "paths_ignore_other",
    "load_leaves_the_sockets",
    "idle_connections_are",
    "a_namespace_is",
    "a_sysctl_is",
    // These are about what the tool does with what the same programs say.
    "load_is_verified",
    "load_makes_auto",
    "load_with_uncounted_losses",
    "load_of_ten_million",
    "load_twenty_starts",
    "namespaces_without_room",
    // A condition of the same programs, and the same rows in larger numbers.
    "families_",
    "namespaces_by_the_hundred",
    "namespaces_removed_by_the_hundred",
    // Each takes as long as all others of its kind, and does little in the kernel that those do not.
    "events_filter_keeps",
    "hist_filter_keeps",
    "hist_of_sockets_held_for_known_times",
    "hist_by_each_grouping",
    "hist_with_more_groups",
    "hist_agrees_with_the_matrix_and_with_the_events",
    // The rows are counted beside the gauges; the test of the sockets inside sees that they are.
    "namespaces_rows_equal_the_kernel_on_every_path",
    // On the oldest and on the newest kernel the best hooks are functions, which `gauges_by_functions` follows on every path.
    "gauges_equal_the_kernel_at_every_checkpoint",
];
