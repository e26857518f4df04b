//! Tests that run in guests only with `cargo xtask test --all` and `cargo xtask vm`, because they
//! take long.

/// Parts of the names.
pub(super) const LEFT_OUT: &[&str] = &[
    // These tests do not use BPF.
    "count_",
    "doctor_",
    "truths_agree",
    "paths_ignore_other",
    "load_leaves_the_sockets",
    "idle_connections_are",
    "a_namespace_is",
    "a_sysctl_is",
    // Tests of user space. Other tests check the BPF programs.
    "load_is_verified",
    "load_makes_auto",
    "load_with_uncounted_losses",
    "load_of_ten_million",
    "load_twenty_starts",
    "namespaces_without_room",
    // Tests that add one condition to BPF programs that other tests check, or that use more rows.
    "families_",
    "namespaces_by_the_hundred",
    "namespaces_removed_by_the_hundred",
    // Each of these takes as long as all other tests of its kind, and runs little other code in the
    // kernel.
    "events_filter_keeps",
    "hist_filter_keeps",
    "hist_of_sockets_held_for_known_times",
    "hist_by_each_grouping",
    "hist_with_more_groups",
    "hist_agrees_with_the_matrix_and_with_the_events",
    // The programs count rows together with gauges. The test of `namespaces_rows_equal_the_sockets`
    // checks the rows.
    "namespaces_rows_equal_the_kernel_on_every_path",
    // On the oldest and on the newest kernel the first choice of hooks is fentry.
    // `gauges_by_functions` checks it on every path.
    "gauges_equal_the_kernel_at_every_checkpoint",
];
