//! What user space decides before the load: flags, and the offsets of kernel fields. Frozen, so that
//! the verifier knows every value.

/// What user space decides before the load. Frozen, so that the verifier knows the values and prunes what they
/// switch off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Address of `tw_timer_handler`; 0 if unknown.
    pub tw_timer_handler: u64,
    /// Address of `reqsk_timer_handler`; 0 if unknown.
    pub reqsk_timer_handler: u64,
    /// With [`FLAG_DROP`]: ignore every n-th event of a CPU and count it as dropped.
    pub drop_one_in: u32,
    /// [`FLAG_ATOMIC`] and its like: one word, so that the hot path reads one.
    pub flags: u32,
    /// Inode of the one network namespace to count; 0 counts all.
    pub netns: u32,
    /// The one address family to count, as `sk_family` has it; 0 counts all.
    pub family: u32,
    /// `TCP_TW_RST`, what `tcp_timewait_state_process` returns for a time-wait socket that is to be killed.
    pub tcp_tw_rst: u32,
    /// `TCP_TW_SYN`: for one that a new connection replaces.
    pub tcp_tw_syn: u32,
    /// 64 less the logarithm of the number of slots in a table of sockets; 0 if tables have no slots.
    pub slot_shift: u32,
    /// Not 0 for what [`is_plain`].
    pub is_plain: u32,
    /// Where the kernel keeps what the programs read.
    pub offsets: Offsets,
    /// The same, for mini sockets.
    pub minis: MiniOffsets,
    /// Where the classic tracepoint's record keeps its fields.
    pub record: RecordOffsets,
    /// Where the kernel keeps what events tell; all 0 unless events are asked for.
    pub events: EventOffsets,
    /// Where it keeps whose sockets are; the same.
    pub owners: OwnerOffsets,
}

/// Whether transitions are counted as they mostly are: of one network namespace and all families, and without any flag that changes
/// how. That has a copy of the hot path to itself, without a trace of all else.
#[must_use]
pub const fn is_plain(flags: u32, netns: u32, family: u32) -> bool {
    const DETOURS: u32 = FLAG_ATOMIC | FLAG_LOG | FLAG_DROP | FLAG_NAMESPACES | FLAG_FAMILIES;
    flags & DETOURS == 0 && netns != 0 && family == 0
}

/// Flag of [`Config::flags`]: count with atomic additions, for kernels on which a program may interrupt
/// itself (before 6.1).
pub const FLAG_ATOMIC: u32 = 1 << 0;
/// Flag of [`Config::flags`]: log each transition.
pub const FLAG_LOG: u32 = 1 << 1;
/// Flag of [`Config::flags`], for tests: heed [`Config::drop_one_in`].
pub const FLAG_DROP: u32 = 1 << 2;
/// Flag of [`Config::flags`]: count each network namespace by itself too.
pub const FLAG_NAMESPACES: u32 = 1 << 3;
/// Flag of [`Config::flags`]: count each family by itself. Each CPU then has two elements of
/// [`CpuSlots`](super::CpuSlots): the first for IPv4 sockets, the second for IPv6 sockets.
pub const FLAG_FAMILIES: u32 = 1 << 4;
/// Flag of [`Config::flags`]: [`Offsets::net_identity`] is the offset of a cookie, which no two
/// namespaces ever share (64 bits). Without the flag it is the offset of a random number, which names a
/// namespace together with its inode (32 bits).
pub const FLAG_COOKIES: u32 = 1 << 5;
/// Flag of [`Config::flags`]: write events of full sockets to the ring, and those of mini sockets as far
/// as they are seen one by one.
pub const FLAG_EVENTS: u32 = 1 << 6;
/// Flag of [`Config::flags`]: give a socket its cookie if it has none yet, by a helper that tracing
/// programs may call since 5.12.
pub const FLAG_MAKE_COOKIES: u32 = 1 << 7;
/// Flag of [`Config::flags`]: add durations to [`histogram`](crate::histogram)s.
pub const FLAG_HISTOGRAMS: u32 = 1 << 8;
/// Flag of [`Config::flags`], for tests: heed [`Config::drop_one_in`] in the program that tracks sockets,
/// and not in the program that counts.
pub const FLAG_DROP_TRACKED: u32 = 1 << 9;
/// The number of flags in use.
const FLAG_BITS: u32 = 10;
/// The shift of the part of [`Config::flags`] that says by which key histograms are grouped: a
/// [`By`](crate::histogram::By), or 0.
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
    /// `struct net`, the count of its users (32 bits); 0 when it is gone.
    pub net_users: u32,
}

/// Byte offsets of mini sockets' fields, from the running kernel's BTF; a provider whose fields are missing is not loaded.
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
    /// `struct request_sock`, the byte with `num_timeout`.
    pub num_timeout: u32,
    /// The bits of that byte that are `num_timeout`.
    pub num_timeout_mask: u32,
}

/// Byte offsets in the record of the classic tracepoint, from its `format` file.
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

/// Byte offsets of what an event tells of its socket and its owner, from the running kernel's BTF.
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
    /// `struct sock_common`, `skc_num` (16 bits): the local port while the socket holds it.
    pub skc_num: u32,
    /// `struct sock_common`, `skc_dport` (16 bits, the network's order).
    pub skc_dport: u32,
    /// `struct sock_common`, `skc_cookie` (64 bits); 0 until somebody asks for one.
    pub skc_cookie: u32,
    /// `struct sock`, `sk_uid` (32 bits).
    pub sk_uid: u32,
    /// `struct sock`, `sk_err` (32 bits): what ended the connection, or went wrong before.
    pub sk_err: u32,
    /// `struct sock`, `sk_shutdown` (8 bits): [`SHUTDOWN_BOTH`] after a close.
    pub sk_shutdown: u32,
    /// `struct inet_sock`, `inet_sport` (16 bits, the network's order): the local port, also when it is given back.
    pub inet_sport: u32,
    /// `struct task_struct`, `flags` (32 bits).
    pub task_flags: u32,
    /// `struct task_struct`, `group_leader` (pointer).
    pub group_leader: u32,
    /// `struct task_struct`, `comm` (16 bytes).
    pub comm: u32,
}

/// Byte offsets of what a socket tells of whose it is, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerOffsets {
    /// `struct sock`, the pointer to the cgroup in `sk_cgrp_data`; 0 in a kernel without.
    pub sk_cgroup: u32,
    /// Not 0: it is a number (before 5.15), whose lowest bits say that it is no pointer.
    pub cgroup_is_number: u32,
    /// `struct cgroup`, `kn` (pointer to `struct kernfs_node`).
    pub cgroup_kn: u32,
    /// `struct kernfs_node`, `id` (64 bits): the number that user space knows the cgroup by.
    pub kn_id: u32,
    /// `struct kernfs_node`, its parent (pointer).
    pub kn_parent: u32,
    /// `struct sock`, `sk_socket` (pointer to `struct socket`); null before accept() and after close().
    pub sk_socket: u32,
    /// `struct socket`, `file` (pointer); null for sockets of the kernel's own.
    pub socket_file: u32,
    /// From a `struct socket` to its inode's `i_ino` (64 bits).
    pub socket_inode: u32,
}

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
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
