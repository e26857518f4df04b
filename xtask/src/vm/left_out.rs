//! Lists slow tests, which `cargo xtask test` does not run in guests. `cargo xtask test --all` and
//! `cargo xtask vm` run the slow tests in guests.

/// Parts of the names of the slow tests.
pub(super) const LEFT_OUT: &[&str] = &[
    // These tests need several tracers at once and snapshots every 100 ms. An emulated machine is
    // too slow for the times that they assert.
    "lost_",
    "seeded_",
    "torture_",
    // The tests `count_` to `a_sysctl_is` do not use BPF.
    "count_",
    "doctor_",
    "truths_agree",
    "paths_ignore_other",
    "load_leaves_the_sockets",
    "idle_connections_are",
    "a_namespace_is",
    "a_sysctl_is",
    // The tests `load_is_verified` to `namespaces_without_room` check the user half. Other tests
    // check the BPF programs that these six tests load.
    "load_is_verified",
    "load_makes_auto",
    "load_with_uncounted_losses",
    "load_of_ten_million",
    "load_twenty_starts",
    "namespaces_without_room",
    // Other tests already check the BPF programs that the following three tests use. These three
    // tests check more address families, or use many namespaces.
    "families_",
    "namespaces_by_the_hundred",
    "namespaces_removed_by_the_hundred",
    // Each of the following seven tests takes as long as all unlisted tests of its group (`events_`
    // or `hist_`) together. The unlisted tests run almost all BPF code that the listed tests run.
    "events_filter_keeps",
    "events_filter_matches_time_wait",
    "hist_filter_keeps",
    "hist_of_sockets_held_for_known_times",
    "hist_by_each_grouping",
    "hist_with_more_groups",
    "hist_agrees_with_the_matrix_and_with_the_events",
    // `connections_are_summed_up_beside` loads the largest programs, and checks most of what these
    // tests check.
    "connections_have_the_bytes",
    "connections_older_than",
    "connections_that_are_open",
    "connections_that_fail",
    "connections_with_lines",
    // The BPF programs count the sockets of each namespace together with the gauges, and other
    // tests check the gauges on every path. `namespaces_rows_equal_the_sockets` checks the socket
    // counts of each namespace.
    "namespaces_rows_equal_the_kernel_on_every_path",
    // The unlisted tests of owners run almost all BPF code that the following tests run.
    "owners_are_counted_beside",
    "owners_of_earlier",
    "owners_of_half_open",
    "owners_of_simultaneous",
    "owners_of_ten_million",
    "owners_that_have_gone",
    "owners_without_room",
    // On the oldest and on the newest kernel, tcpstate uses fentry hooks. `gauges_by_functions`
    // checks the fentry hooks on every path.
    "gauges_equal_the_kernel_at_every_checkpoint",
];
