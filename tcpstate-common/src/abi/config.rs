//! The configuration that user space sets before it loads the BPF programs: flags, and the byte
//! offsets of kernel fields.

/// The configuration of the BPF programs. User space freezes the configuration before the load, so
/// that the verifier knows every value. The verifier then removes the code of disabled features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Address of the kernel function `tw_timer_handler`; 0 if unknown.
    pub tw_timer_handler: u64,
    /// Address of the kernel function `reqsk_timer_handler`; 0 if unknown.
    pub reqsk_timer_handler: u64,
    /// With [`FLAG_DROP`] or [`FLAG_DROP_TRACKED`], each CPU ignores every n-th event, where n is
    /// `drop_one_in`. With [`FLAG_DROP`], each CPU counts the events that it ignores as dropped.
    pub drop_one_in: u32,
    /// The flags of the configuration, such as [`FLAG_ATOMIC`]. All flags share one word, so that
    /// the hot path reads only one word.
    pub flags: u32,
    /// Inode of the only network namespace to count; 0 counts all namespaces.
    pub netns: u32,
    /// The only address family to count, as a value of `sk_family`; 0 counts all families.
    pub family: u32,
    /// `TCP_TW_RST`: the result of `tcp_timewait_state_process` for a time-wait socket that its
    /// caller will kill.
    pub tcp_tw_rst: u32,
    /// `TCP_TW_SYN`: the result of `tcp_timewait_state_process` for a time-wait socket that a new
    /// connection replaces.
    pub tcp_tw_syn: u32,
    /// 64 minus the base-2 logarithm of the number of slots of a socket table; 0 if tables have no
    /// slots.
    pub slot_shift: u32,
    /// The result of [`is_plain`] for this configuration: 1 for true, 0 for false.
    pub is_plain: u32,
    /// The keys of [`OwnerKey`](super::OwnerKey) that distinguish owners, such as
    /// [`OWNER_PROCESS`](super::OWNER_PROCESS); 0 without [`FLAG_OWNERS`].
    pub owner_keys: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// Offsets of the fields that the counting programs read.
    pub offsets: Offsets,
    /// Offsets of the fields of mini sockets.
    pub minis: MiniOffsets,
    /// Offsets of the fields in the record of the classic tracepoint.
    pub record: RecordOffsets,
    /// Offsets of the kernel fields whose values events contain; all 0 unless events are enabled.
    pub events: EventOffsets,
    /// Offsets of the fields that identify the owner of a socket; all 0 unless owners are needed.
    pub owners: OwnerOffsets,
    /// Offsets of the fields of a connection; all 0 unless connections are recorded.
    pub connections: super::ConnectionOffsets,
    /// The PID namespace in which the programs name processes.
    pub pids: PidConfig,
    /// The events that a test makes the counting programs lose; all 0 without such a test.
    pub losses: LossConfig,
}

/// Returns whether a configuration is the default configuration: one network namespace, all
/// families, and no flag that changes how transitions are counted. The default configuration has a
/// separate copy of the hot path, which contains no code for other configurations.
#[must_use]
pub const fn is_plain(flags: u32, netns: u32, family: u32) -> bool {
    const DETOURS: u32 =
        FLAG_ATOMIC | FLAG_LOG | FLAG_DROP | FLAG_NAMESPACES | FLAG_FAMILIES | FLAG_FAILURES;
    flags & DETOURS == 0 && netns != 0 && family == 0
}

/// Flag of [`Config::flags`]: the programs count with atomic additions. Kernels before 6.1 need
/// atomic additions, because on these kernels a program can interrupt itself.
pub const FLAG_ATOMIC: u32 = 1 << 0;
/// Flag of [`Config::flags`]: the counting program logs each transition.
pub const FLAG_LOG: u32 = 1 << 1;
/// Flag of [`Config::flags`], for tests: the counting program drops transitions as
/// [`Config::drop_one_in`] and [`Config::losses`] say.
pub const FLAG_DROP: u32 = 1 << 2;
/// Flag of [`Config::flags`]: the programs also count each network namespace separately.
pub const FLAG_NAMESPACES: u32 = 1 << 3;
/// Flag of [`Config::flags`]: the programs count each address family separately. With this flag,
/// each CPU has two elements of [`CpuSlots`](super::CpuSlots): the first for IPv4 sockets, the
/// second for IPv6 sockets.
pub const FLAG_FAMILIES: u32 = 1 << 4;
/// Flag of [`Config::flags`]: the field at [`Offsets::net_identity`] is the namespace's cookie (64
/// bits), which is unique. Without this flag, the field at [`Offsets::net_identity`] is a random
/// number (32 bits), which identifies a namespace together with its inode.
pub const FLAG_COOKIES: u32 = 1 << 5;
/// Flag of [`Config::flags`]: the programs write events or connections to the ring, as
/// [`FLAG_LINES`] and [`FLAG_CONNECTIONS`] say. Mini sockets have events only if a hook observes
/// every birth and end of mini sockets.
pub const FLAG_EVENTS: u32 = 1 << 6;
/// Flag of [`Config::flags`]: a program creates a cookie for a socket that has no cookie yet.
/// Tracing programs can call the helper that creates a cookie since 5.12.
pub const FLAG_MAKE_COOKIES: u32 = 1 << 7;
/// Flag of [`Config::flags`]: the programs add durations to [`histogram`](crate::histogram)s.
pub const FLAG_HISTOGRAMS: u32 = 1 << 8;
/// Flag of [`Config::flags`], for tests: the program that tracks sockets drops events as
/// [`Config::drop_one_in`] says. The counting program drops no event because of this flag.
pub const FLAG_DROP_TRACKED: u32 = 1 << 9;
/// Flag of [`Config::flags`]: the programs count by [owner](super::owners), as
/// [`Config::owner_keys`] says.
pub const FLAG_OWNERS: u32 = 1 << 10;
/// Flag of [`Config::flags`]: the counting program counts failed connects by error.
pub const FLAG_FAILURES: u32 = 1 << 11;
/// Flag of [`Config::flags`]: a program can get the current task as a pointer whose type the
/// verifier knows (`bpf_get_current_task_btf`, since 5.11).
pub const FLAG_TYPED_TASKS: u32 = 1 << 12;
/// Flag of [`Config::flags`]: the programs write a record for each event. Without this flag,
/// [`FLAG_EVENTS`] only enables what connections need too.
pub const FLAG_LINES: u32 = 1 << 13;
/// Flag of [`Config::flags`]: the programs write a [`ConnectionRecord`](super::ConnectionRecord) at
/// the last event of each connection. This flag needs [`FLAG_EVENTS`].
pub const FLAG_CONNECTIONS: u32 = 1 << 14;
/// The number of flags in [`Config::flags`] that are in use.
const FLAG_BITS: u32 = 15;
/// Position of the lowest bit of the grouping key in [`Config::flags`]. The grouping key of
/// histograms is a [`By`](crate::histogram::By), or 0 for none.
pub const FLAGS_BY_SHIFT: u32 = 24;

const _: () = assert!(FLAG_BITS <= FLAGS_BY_SHIFT, "flags do not reach into the key of histograms");

/// Byte offsets of kernel fields, taken from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `struct sock`, `sk_protocol` (16 bits wide since 5.6).
    pub sk_protocol: u32,
    /// `struct sock_common`, `skc_state` (8 bits).
    pub skc_state: u32,
    /// `struct sock_common`, `skc_family` (16 bits).
    pub skc_family: u32,
    /// `struct sock_common`, `skc_prot` (pointer to `struct proto`).
    pub skc_prot: u32,
    /// `struct sock_common`, `skc_net.net` (pointer to `struct net`).
    pub skc_net: u32,
    /// `struct net`, `ns.inum` (32 bits).
    pub net_inum: u32,
    /// `struct net`, `net_cookie` or `hash_mix`: see [`FLAG_COOKIES`].
    pub net_identity: u32,
    /// `struct net`, its user count (32 bits); 0 once the namespace is gone.
    pub net_users: u32,
}

/// Byte offsets of the fields of mini sockets, taken from the running kernel's BTF. User space does
/// not load a hook whose fields are missing in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniOffsets {
    /// `struct inet_timewait_sock`, `tw_substate` (8 bits).
    pub tw_substate: u32,
    /// `struct inet_timewait_sock`, `tw_timer`.
    pub tw_timer: u32,
    /// `struct sock_common`, `skc_refcnt` (32 bits).
    pub skc_refcnt: u32,
    /// `struct timer_list`, `function` (pointer).
    pub timer_function: u32,
    /// `struct request_sock`, `rsk_timer`.
    pub rsk_timer: u32,
    /// `struct request_sock`, the byte that contains `num_timeout`.
    pub num_timeout: u32,
    /// Mask that selects the bits of `num_timeout` in its byte.
    pub num_timeout_mask: u32,
}

/// Byte offsets in the record of the classic tracepoint, taken from the tracepoint's `format` file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordOffsets {
    /// `skaddr` (pointer).
    pub skaddr: u32,
    /// `oldstate` (32 bits).
    pub oldstate: u32,
    /// `newstate` (32 bits).
    pub newstate: u32,
}

/// Byte offsets of the fields of a socket and of a task whose values events contain, taken from the
/// running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventOffsets {
    /// `struct sock_common`, `skc_rcv_saddr` (32 bits).
    pub skc_rcv_saddr: u32,
    /// `struct sock_common`, `skc_daddr` (32 bits).
    pub skc_daddr: u32,
    /// `struct sock_common`, `skc_v6_rcv_saddr` (128 bits); 0 in a kernel without IPv6.
    pub skc_v6_rcv_saddr: u32,
    /// `struct sock_common`, `skc_v6_daddr` (128 bits); 0 in a kernel without IPv6.
    pub skc_v6_daddr: u32,
    /// `struct sock_common`, `skc_num` (16 bits): the local port while the socket is bound.
    pub skc_num: u32,
    /// `struct sock_common`, `skc_dport` (16 bits, network byte order).
    pub skc_dport: u32,
    /// `struct sock_common`, `skc_cookie` (64 bits); 0 until a program or process requests a
    /// cookie.
    pub skc_cookie: u32,
    /// `struct sock`, `sk_uid` (32 bits).
    pub sk_uid: u32,
    /// `struct sock`, `sk_err` (32 bits): the error that closed the connection, or an earlier
    /// error.
    pub sk_err: u32,
    /// `struct sock`, `sk_shutdown` (8 bits); [`SHUTDOWN_BOTH`] after a close.
    pub sk_shutdown: u32,
    /// `struct inet_sock`, `inet_sport` (16 bits, network byte order): the local port. `inet_sport`
    /// keeps the port after the socket has released it.
    pub inet_sport: u32,
    /// `struct task_struct`, `flags` (32 bits).
    pub task_flags: u32,
    /// `struct task_struct`, `group_leader` (pointer).
    pub group_leader: u32,
    /// `struct task_struct`, `comm` (16 bytes).
    pub comm: u32,
    /// `struct task_struct`, `start_boottime` (64 bits).
    pub start_boottime: u32,
    /// `struct task_struct`, `tgid` (32 bits).
    pub tgid: u32,
    /// `struct task_struct`, `signal` (pointer to `struct signal_struct`).
    pub signal: u32,
    /// `struct signal_struct`, `live` (32 bits): the number of threads that have not exited.
    pub live: u32,
}

/// Byte offsets of the fields that identify the owner of a socket, taken from the running kernel's
/// BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerOffsets {
    /// `struct sock`, the pointer to the cgroup in `sk_cgrp_data`; 0 in a kernel without cgroups.
    pub sk_cgroup: u32,
    /// Not 0 if the kernel stores the cgroup of a socket as a number (before 5.15). A stored number
    /// is not a pointer if either of its two lowest bits is set.
    pub cgroup_is_number: u32,
    /// `struct cgroup`, `kn` (pointer to `struct kernfs_node`).
    pub cgroup_kn: u32,
    /// `struct kernfs_node`, `id` (64 bits): the cgroup's number in user space.
    pub kn_id: u32,
    /// `struct kernfs_node`, the pointer to its parent.
    pub kn_parent: u32,
    /// `struct task_struct`, `cgroups` (pointer to `struct css_set`); 0 in a kernel without
    /// cgroups.
    pub task_cgroups: u32,
    /// `struct css_set`, `dfl_cgrp` (pointer to `struct cgroup`): the cgroup of version 2.
    pub css_set_cgroup: u32,
    /// `struct sock`, `sk_socket` (pointer to `struct socket`); null before accept() and after
    /// close().
    pub sk_socket: u32,
    /// `struct socket`, `file` (pointer); null for the kernel's own sockets.
    pub socket_file: u32,
    /// Distance from a `struct socket` to the `i_ino` (64 bits) of its inode.
    pub socket_inode: u32,
    /// `struct sock`, `sk_lock.owned` (32 bits); not 0 while a process holds the socket's lock.
    pub sk_lock_owned: u32,
    /// `struct sock_common`, `skc_hash` (32 bits).
    pub skc_hash: u32,
    /// `struct sock_common`, `skc_listener` of a request socket (pointer to `struct sock`).
    pub skc_listener: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The PID namespace in which the programs name processes, and the byte offsets of the fields that
/// lead from a task to its id in this namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PidConfig {
    /// Inode of the PID namespace; 0 if it is the initial namespace, for which no offset is needed.
    /// If the namespace is [`NO_PID_NAMESPACE`], no process has an id.
    pub namespace: u32,
    /// `struct task_struct`, `thread_pid` (pointer to `struct pid`).
    pub thread_pid: u32,
    /// `struct pid`, `level` (32 bits): the depth of the innermost namespace of the process.
    pub level: u32,
    /// `struct pid`, `numbers` (an array of `struct upid`, one for each namespace of the process).
    pub numbers: u32,
    /// The size of `struct upid`.
    pub upid_size: u32,
    /// `struct upid`, `nr` (32 bits): the id.
    pub nr: u32,
    /// `struct upid`, `ns` (pointer to `struct pid_namespace`).
    pub ns: u32,
    /// `struct pid_namespace`, `ns.inum` (32 bits).
    pub inum: u32,
}

/// An inode that no namespace has, for [`PidConfig::namespace`].
pub const NO_PID_NAMESPACE: u32 = u32::MAX;

/// The id of a process that has no id in the PID namespace [`PidConfig::namespace`]. The kernel's
/// ids have at most 22 bits.
pub const NO_PID: u32 = u32::MAX;

/// The events that the counting programs lose in tests. A lost event changes no counter, and it is
/// not counted as missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LossConfig {
    /// The kind of the lost events, a [`LostEvents`]; 0 if no event is lost.
    pub events: u32,
    /// The [`LossPattern`] that selects the lost events among the events of the kind.
    pub pattern: u32,
    /// The number n of the pattern.
    pub number: u32,
    /// The old states of the lost transitions. Each state is one bit, `1 << number`.
    pub from: u32,
    /// The new states of the lost transitions. Each state is one bit, `1 << number`.
    pub to: u32,
    /// Bits of [`Control::word`](super::Control::word). While one of them is set, no event of a
    /// mini socket is lost.
    pub spared: u32,
}

/// The kind of events that a test makes the counting programs lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LostEvents {
    /// Transitions of full sockets.
    Transitions = 1,
    /// Births of time-wait sockets.
    TimeWaitBirths = 2,
    /// Ends of time-wait sockets.
    TimeWaitEnds = 3,
    /// Births of request sockets.
    RequestBirths = 4,
    /// Ends of request sockets.
    RequestEnds = 5,
}

/// Selects the lost events among the events of a kind. Each CPU counts its own events of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LossPattern {
    /// Every n-th event is lost.
    EveryNth = 1,
    /// n events in a row are lost, then n events in a row are counted, and so on.
    Bursts = 2,
    /// Every event is lost while [`Control::losing`](super::Control::losing) is not 0.
    Switched = 3,
}

// SAFETY: `Config` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Config {}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [u32; FLAG_BITS as usize] = [
        FLAG_ATOMIC,
        FLAG_LOG,
        FLAG_DROP,
        FLAG_NAMESPACES,
        FLAG_FAMILIES,
        FLAG_COOKIES,
        FLAG_EVENTS,
        FLAG_MAKE_COOKIES,
        FLAG_HISTOGRAMS,
        FLAG_DROP_TRACKED,
        FLAG_OWNERS,
        FLAG_FAILURES,
        FLAG_TYPED_TASKS,
        FLAG_LINES,
        FLAG_CONNECTIONS,
    ];

    #[test]
    fn flags_are_contiguous_and_do_not_overlap() {
        let sum: u32 = FLAGS.iter().sum();
        let union = FLAGS.iter().fold(0, |union, flag| union | flag);
        assert!(FLAGS.iter().all(|flag| flag.is_power_of_two()));
        assert_eq!(sum, union, "two flags overlap");
        assert_eq!(union, (1 << FLAG_BITS) - 1, "a gap between the flags");
    }

    #[test]
    fn every_flag_of_this_file_is_in_the_test_above() {
        let constants = include_str!("config.rs").matches("\npub const FLAG_").count();
        assert_eq!(constants, FLAGS.len());
    }

    #[test]
    fn only_one_namespace_without_detours_is_plain() {
        assert!(is_plain(0, 1, 0));
        assert!(is_plain(FLAG_EVENTS | FLAG_HISTOGRAMS | FLAG_COOKIES, 1, 0));
        assert!(!is_plain(0, 0, 0), "all namespaces");
        assert!(!is_plain(0, 1, 2), "one family");
        for detour in [FLAG_ATOMIC, FLAG_LOG, FLAG_DROP, FLAG_NAMESPACES, FLAG_FAMILIES] {
            assert!(!is_plain(detour, 1, 0), "{detour}");
        }
    }
}
