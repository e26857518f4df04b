//! The texts of the sysctls that the states and the rules of `doctor` name. Defaults are those of
//! Linux 6.12, unless the text says otherwise.
//!
//! The file is long because it is a table of texts: one entry for each sysctl, and no code.

use tcpstate_common::State::{
    self, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    TimeWait,
};

use super::SysctlText;

/// The states of an orphan that must still send data or a FIN. No program holds an orphan.
const ORPHANS: &[State] = &[FinWait1, Closing, LastAck];

/// The texts of all sysctls, sorted by name.
pub(super) const SYSCTLS: &[SysctlText] = &[
    SysctlText {
        name: "net.core.somaxconn",
        does: "Upper limit of the backlog that a program gives to listen(). The smaller of the \
               two limits the queue of half-open connections and the accept queue of a listener.",
        default: "4096; 128 before 5.4",
        unit: "connections",
        kernels: "all",
        states: &[Listen, SynRecv],
        change: "Raise it if TcpExt ListenOverflows grows while the program accepts fast enough. \
                 Raise the backlog of the program too, and restart the program: listen() reads \
                 the value.",
        kernel: &["net/socket.c: __sys_listen", "net/ipv4/af_inet.c: inet_listen"],
    },
    SysctlText {
        name: "net.ipv4.ip_local_port_range",
        does: "The first and the last local port that the kernel chooses for connect(), and for \
               bind() with port 0.",
        default: "32768 60999",
        unit: "ports",
        kernels: "all",
        states: &[SynSent, Established, TimeWait],
        change: "Widen it if a program opens many connections to one address and port: each of \
                 them needs its own local port, also while it is in TIME_WAIT. Keep it above the \
                 ports on which programs listen, or reserve those ports.",
        kernel: &[
            "net/ipv4/inet_hashtables.c: __inet_hash_connect",
            "net/ipv4/sysctl_net_ipv4.c: set_local_port_range",
        ],
    },
    SysctlText {
        name: "net.ipv4.ip_local_reserved_ports",
        does: "Ports that the kernel does not choose by itself. A program can still bind them \
               explicitly.",
        default: "empty",
        unit: "ports and ranges, such as 8080,9000-9010",
        kernels: "all",
        states: &[Listen],
        change: "List the ports of the range on which programs listen, so that no outgoing \
                 connection occupies them.",
        kernel: &["net/ipv4/inet_hashtables.c: __inet_hash_connect"],
    },
    SysctlText {
        name: "net.ipv4.tcp_abort_on_overflow",
        does: "1: reset a new connection if the accept queue is full. 0: drop the ACK of the \
               peer, which tries again.",
        default: "0",
        unit: "0 or 1",
        kernels: "all",
        states: &[SynRecv],
        change: "Leave it at 0: short bursts then succeed after a retransmission.",
        kernel: &["net/ipv4/tcp_minisocks.c: tcp_check_req"],
    },
    SysctlText {
        name: "net.ipv4.tcp_ehash_entries",
        does: "Number of buckets of the table of connections. A negative number means that this \
               network namespace shares the table of the host.",
        default: "depends on memory; read-only",
        unit: "buckets",
        kernels: "since 6.1",
        states: &[],
        change: "It cannot be changed. The defaults of tcp_max_tw_buckets and tcp_max_syn_backlog \
                 are computed from it.",
        kernel: &["net/ipv4/sysctl_net_ipv4.c: proc_tcp_ehash_entries"],
    },
    SysctlText {
        name: "net.ipv4.tcp_fack",
        does: "Nothing. The kernel keeps the name for old configuration files.",
        default: "0",
        unit: "0 or 1",
        kernels: "without effect in all supported kernels",
        states: &[],
        change: "Delete its line from the sysctl files.",
        kernel: &["net/ipv4/sysctl_net_ipv4.c: ipv4_net_table"],
    },
    SysctlText {
        name: "net.ipv4.tcp_fin_timeout",
        does: "Lifetime of an orphan in FIN_WAIT2: a socket that its program has closed and whose \
               peer has not closed yet. It does not change TIME_WAIT, which always takes 60 s.",
        default: "60",
        unit: "seconds",
        kernels: "all",
        states: &[FinWait2],
        change: "Lower it only if orphans in FIN_WAIT2 are a problem. It has no effect on the \
                 number of sockets in TIME_WAIT.",
        kernel: &["net/ipv4/tcp.c: __tcp_close", "net/ipv4/tcp_timer.c: tcp_keepalive_timer"],
    },
    SysctlText {
        name: "net.ipv4.tcp_keepalive_intvl",
        does: "Time between two keepalive probes, for sockets with SO_KEEPALIVE.",
        default: "75",
        unit: "seconds",
        kernels: "all",
        states: &[Established, CloseWait, FinWait2],
        change: "Lower it together with tcp_keepalive_time to detect dead peers sooner. A program \
                 can set TCP_KEEPINTVL instead.",
        kernel: &["net/ipv4/tcp_timer.c: tcp_keepalive_timer"],
    },
    SysctlText {
        name: "net.ipv4.tcp_keepalive_probes",
        does: "Number of unanswered keepalive probes after which the connection ends, for sockets \
               with SO_KEEPALIVE.",
        default: "9",
        unit: "probes",
        kernels: "all",
        states: &[Established, CloseWait, FinWait2],
        change: "Lower it to detect dead peers sooner. A program can set TCP_KEEPCNT instead.",
        kernel: &["net/ipv4/tcp_timer.c: tcp_keepalive_timer"],
    },
    SysctlText {
        name: "net.ipv4.tcp_keepalive_time",
        does: "Idle time before the first keepalive probe, for sockets with SO_KEEPALIVE.",
        default: "7200",
        unit: "seconds",
        kernels: "all",
        states: &[Established, CloseWait, FinWait2],
        change: "Lower it if firewalls forget idle connections, or if dead peers must be detected \
                 sooner than after 2 hours. A program can set TCP_KEEPIDLE instead.",
        kernel: &["net/ipv4/tcp_timer.c: tcp_keepalive_timer"],
    },
    SysctlText {
        name: "net.ipv4.tcp_low_latency",
        does: "Nothing. The kernel keeps the name for old configuration files.",
        default: "0",
        unit: "0 or 1",
        kernels: "without effect in all supported kernels",
        states: &[],
        change: "Delete its line from the sysctl files.",
        kernel: &["net/ipv4/sysctl_net_ipv4.c: ipv4_table"],
    },
    SysctlText {
        name: "net.ipv4.tcp_max_orphans",
        does: "Limit of orphans on the whole host: sockets that a program has closed and that \
               have not ended yet. Above the limit the kernel resets orphans and counts them in \
               TcpExt TCPAbortOnMemory.",
        default: "depends on memory",
        unit: "sockets",
        kernels: "all; only in the network namespace of the host",
        states: ORPHANS,
        change: "Raise it if the host has memory and orphans are reset. The limit protects \
                 against attacks: do not lower it.",
        kernel: &["net/ipv4/tcp.c: tcp_check_oom", "net/ipv4/tcp_timer.c: tcp_out_of_resources"],
    },
    SysctlText {
        name: "net.ipv4.tcp_max_syn_backlog",
        does: "Limit of half-open connections of a listener. It has an effect only if \
               tcp_syncookies is 0. The last quarter is reserved for peers that the kernel knows \
               from earlier connections.",
        default: "depends on memory, at least 128",
        unit: "connections",
        kernels: "all",
        states: &[SynRecv],
        change: "Leave it. Raise net.core.somaxconn and the backlog of the program instead.",
        kernel: &["net/ipv4/tcp_input.c: tcp_conn_request"],
    },
    SysctlText {
        name: "net.ipv4.tcp_max_tw_buckets",
        does: "Limit of time-wait sockets. Above it connections close without TIME_WAIT, and \
               TcpExt TCPTimeWaitOverflow counts them.",
        default: "half of tcp_ehash_entries",
        unit: "sockets",
        kernels: "all",
        states: &[TimeWait, FinWait2],
        change: "Raise it if TcpExt TCPTimeWaitOverflow grows. The limit protects against \
                 attacks: do not lower it to reduce the number of sockets in TIME_WAIT.",
        kernel: &[
            "net/ipv4/inet_timewait_sock.c: inet_twsk_alloc",
            "net/ipv4/tcp_ipv4.c: tcp_set_hashinfo",
        ],
    },
    SysctlText {
        name: "net.ipv4.tcp_mem",
        does: "Memory of all TCP sockets: below the first number there is no pressure, above the \
               second number TCP saves memory, and the third number is the limit. Above the limit \
               orphans are reset.",
        default: "depends on memory",
        unit: "pages (three numbers)",
        kernels: "all; only in the network namespace of the host",
        states: ORPHANS,
        change: "Raise the last number if the host has memory and TCP reaches the limit (mem in \
                 /proc/net/sockstat).",
        kernel: &["net/ipv4/tcp.c: tcp_init_mem", "net/ipv4/tcp.c: tcp_check_oom"],
    },
    SysctlText {
        name: "net.ipv4.tcp_orphan_retries",
        does: "Number of retransmissions of data or FIN after the program has closed the socket. \
               0 stands for 8, which takes about 100 s.",
        default: "0",
        unit: "retransmissions",
        kernels: "all",
        states: ORPHANS,
        change: "Lower it on a busy server whose clients often disappear, if orphans take too \
                 much memory.",
        kernel: &[
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
            "net/ipv4/tcp_timer.c: tcp_write_timeout",
        ],
    },
    SysctlText {
        name: "net.ipv4.tcp_retries2",
        does: "Number of retransmissions of data while a program still holds the socket. The \
               default takes at least 924.6 s.",
        default: "15",
        unit: "retransmissions",
        kernels: "all",
        states: &[Established, CloseWait, FinWait1, Closing, LastAck],
        change: "Lower it to end connections to dead peers sooner, but not below 8 (RFC 1122 \
                 recommends 100 s). A program can set TCP_USER_TIMEOUT instead.",
        kernel: &["net/ipv4/tcp_timer.c: tcp_write_timeout"],
    },
    SysctlText {
        name: "net.ipv4.tcp_rfc1337",
        does: "1: an RST does not end TIME_WAIT. 0: an RST ends it.",
        default: "0",
        unit: "0 or 1",
        kernels: "all",
        states: &[TimeWait],
        change: "Leave it at 0, unless RST packets end TIME_WAIT too early.",
        kernel: &["net/ipv4/tcp_minisocks.c: tcp_timewait_state_process"],
    },
    SysctlText {
        name: "net.ipv4.tcp_syn_linear_timeouts",
        does: "Number of SYN retransmissions after one second each, before the exponential ones.",
        default: "4",
        unit: "retransmissions",
        kernels: "since 6.5",
        states: &[SynSent],
        change: "Leave it. A connect timeout in the program is better than a change for all \
                 programs.",
        kernel: &["net/ipv4/tcp_timer.c: tcp_write_timeout"],
    },
    SysctlText {
        name: "net.ipv4.tcp_syn_retries",
        does: "Number of SYN retransmissions, after 1, 2, 4, ... s, before connect() fails with \
               ETIMEDOUT.",
        default: "6",
        unit: "retransmissions",
        kernels: "all",
        states: &[SynSent],
        change: "Leave it. A connect timeout in the program, or TCP_SYNCNT, is better than a \
                 change for all programs.",
        kernel: &["net/ipv4/tcp_timer.c: tcp_write_timeout"],
    },
    SysctlText {
        name: "net.ipv4.tcp_synack_retries",
        does: "Number of SYN+ACK retransmissions, after 1, 2, 4, ... s. With the default a \
               half-open connection ends after 63 s.",
        default: "5",
        unit: "retransmissions",
        kernels: "all",
        states: &[SynRecv],
        change: "Lower it if many half-open connections are never completed and fill the queue.",
        kernel: &["net/ipv4/inet_connection_sock.c: reqsk_timer_handler"],
    },
    SysctlText {
        name: "net.ipv4.tcp_syncookies",
        does: "Answer to a SYN if the queue of half-open connections is full. 1: send a SYN \
               cookie and store nothing. 0: drop the SYN. 2: always send cookies, only for tests.",
        default: "1",
        unit: "0, 1 or 2",
        kernels: "all, with CONFIG_SYN_COOKIES",
        states: &[SynRecv],
        change: "Leave it at 1. If cookies are sent under ordinary load, raise the backlog of the \
                 program.",
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_syn_flood_action",
            "net/ipv4/tcp_input.c: tcp_conn_request",
        ],
    },
    SysctlText {
        name: "net.ipv4.tcp_timestamps",
        does: "TCP timestamps (RFC 7323). 1: with a random offset per connection. 2: without the \
               offset. 0: no timestamps.",
        default: "1",
        unit: "0, 1 or 2",
        kernels: "all",
        states: &[TimeWait],
        change: "Leave it at 1. Without timestamps tcp_tw_reuse has no effect, and old segments \
                 are not detected.",
        kernel: &["net/ipv4/tcp_ipv4.c: tcp_twsk_unique"],
    },
    SysctlText {
        name: "net.ipv4.tcp_tw_recycle",
        does: "Before 4.12 it ended TIME_WAIT early, and broke clients behind NAT. The kernel no \
               longer has it.",
        default: "none",
        unit: "0 or 1",
        kernels: "until 4.11; there the functions below read it",
        states: &[TimeWait],
        change: "Never enable it. Delete its line from the sysctl files.",
        kernel: &[
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
            "net/ipv4/tcp_input.c: tcp_conn_request",
        ],
    },
    SysctlText {
        name: "net.ipv4.tcp_tw_reuse",
        does: "Whether connect() may use the local port of a connection in TIME_WAIT again. 0: \
               no. 1: yes. 2: over loopback only. The old connection must have timestamps, and be \
               in TIME_WAIT for 1 s. Incoming connections are not affected.",
        default: "2; 0 before 4.19",
        unit: "0, 1 or 2",
        kernels: "all; 2 since 4.19",
        states: &[TimeWait],
        change: "Set it to 1 on a host that opens many connections to few destinations and runs \
                 out of local ports (rules P1 and P2). It does not help a server, whose port is \
                 fixed.",
        kernel: &["net/ipv4/tcp_ipv4.c: tcp_twsk_unique"],
    },
    SysctlText {
        name: "net.ipv4.tcp_tw_reuse_delay",
        does: "Time in TIME_WAIT after which connect() may use the port again, if tcp_tw_reuse \
               allows it.",
        default: "1000",
        unit: "milliseconds",
        kernels: "since 6.14",
        states: &[TimeWait],
        change: "Leave it at 1000, unless one second is too long for the rate of connections to \
                 one destination.",
        kernel: &["net/ipv4/tcp_ipv4.c: tcp_twsk_unique"],
    },
    SysctlText {
        name: "net.netfilter.nf_conntrack_count",
        does: "Number of connections that connection tracking holds now.",
        default: "read-only",
        unit: "connections",
        kernels: "all, with the module nf_conntrack",
        states: &[],
        change: "It cannot be changed. Compare it with nf_conntrack_max.",
        kernel: &["net/netfilter/nf_conntrack_core.c: __nf_conntrack_alloc"],
    },
    SysctlText {
        name: "net.netfilter.nf_conntrack_max",
        does: "Limit of tracked connections. Above it the kernel drops packets of new \
               connections.",
        default: "depends on memory",
        unit: "connections",
        kernels: "all, with the module nf_conntrack",
        states: &[SynSent],
        change: "Raise it if nf_conntrack_count comes close to it.",
        kernel: &["net/netfilter/nf_conntrack_core.c: __nf_conntrack_alloc"],
    },
    SysctlText {
        name: "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
        does: "Time for which connection tracking keeps an idle connection in its own state \
               CLOSE_WAIT. Sockets are not affected.",
        default: "60",
        unit: "seconds",
        kernels: "all, with the module nf_conntrack",
        states: &[],
        change: "Leave it, unless the table is full of such connections.",
        kernel: &["net/netfilter/nf_conntrack_proto_tcp.c: nf_conntrack_tcp_packet"],
    },
    SysctlText {
        name: "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        does: "Time for which connection tracking keeps a connection in its own state TIME_WAIT. \
               Sockets are not affected.",
        default: "120",
        unit: "seconds",
        kernels: "all, with the module nf_conntrack",
        states: &[],
        change: "Lower it if the table is full of connections in TIME_WAIT.",
        kernel: &["net/netfilter/nf_conntrack_proto_tcp.c: nf_conntrack_tcp_packet"],
    },
];
