//! The texts of the states. Times and defaults are those of Linux 6.12 unless the text says
//! otherwise.
//!
//! The file is long because it is a table of texts: one entry for each state, and no code.

use tcpstate_common::State;

use super::{Names, Setting, StateText};

/// The limit for an orphan whose peer is silent. It applies in FIN_WAIT1, CLOSING and LAST_ACK.
const ORPHAN_RETRIES: Setting = Setting {
    name: "net.ipv4.tcp_orphan_retries",
    default: "0, which means 8",
    does: "Number of retransmissions of data or FIN after the program has closed the socket. 8 \
           retransmissions take about 100 s.",
};

const RETRIES2: Setting = Setting {
    name: "net.ipv4.tcp_retries2",
    default: "15",
    does: "Number of retransmissions while a program still holds the socket. 15 retransmissions \
           take at least 924.6 s.",
};

const MAX_ORPHANS: Setting = Setting {
    name: "net.ipv4.tcp_max_orphans",
    default: "depends on memory",
    does: "Limit of orphans: sockets that a program has closed and that have not ended yet. Above \
           the limit the kernel resets orphans and counts them in TcpExt TCPAbortOnMemory. The \
           limit protects against attacks: raise it if necessary, do not lower it.",
};

const USER_TIMEOUT: Setting = Setting {
    name: "TCP_USER_TIMEOUT",
    default: "off",
    does: "Timeout of one socket, in milliseconds. It is used instead of the number of \
           retransmissions.",
};

const KEEPALIVE_TIME: Setting = Setting {
    name: "net.ipv4.tcp_keepalive_time",
    default: "7200 s",
    does: "Idle time before the first keepalive probe, only for sockets with SO_KEEPALIVE. A peer \
           that no longer knows the connection answers the first probe with RST.",
};

const KEEPALIVE_INTVL: Setting = Setting {
    name: "net.ipv4.tcp_keepalive_intvl",
    default: "75 s",
    does: "Time between two keepalive probes.",
};

const KEEPALIVE_PROBES: Setting = Setting {
    name: "net.ipv4.tcp_keepalive_probes",
    default: "9",
    does: "Number of unanswered probes after which the connection ends. With the defaults a dead \
           peer is detected after 2 h 11 min.",
};

const SOMAXCONN: Setting = Setting {
    name: "net.core.somaxconn, listen(backlog)",
    default: "4096; 128 before 5.4",
    does: "The smaller of the two values limits both queues of a listener. They are the queue of \
           half-open connections and the accept queue. The values are read by listen(), so the \
           program has to call listen() again after a change.",
};

const SYNCOOKIES: Setting = Setting {
    name: "net.ipv4.tcp_syncookies",
    default: "1",
    does: "Answer to a SYN when the queue of half-open connections is full. 1: send a SYN cookie \
           and store nothing. 0: drop the SYN. 2: always send cookies, only for tests.",
};

const MAX_SYN_BACKLOG: Setting = Setting {
    name: "net.ipv4.tcp_max_syn_backlog",
    default: "depends on memory, at least 128",
    does: "Used only if tcp_syncookies is 0. Its last quarter is reserved for peers that the \
           kernel knows from earlier connections.",
};

/// Every state, in the order of a connection's life. The last three are CLOSE and two states that
/// only the kernel uses.
pub(super) const STATES: [StateText; 13] = [
    StateText {
        state: State::Listen,
        names: Names {
            ss: Some("LISTEN"),
            netstat: Some("LISTEN"),
            proc: Some("0A"),
            rfc: Some("LISTEN"),
            node_exporter: Some("listen"),
        },
        meaning: "A program waits for connections to this address and port. The listening socket \
                  has two queues. One queue holds half-open connections, which show as SYN_RECV. \
                  The accept queue holds complete connections that accept() has not returned yet. \
                  They show as ESTABLISHED.",
        moved_on_by: "The program closes the socket with close(), or with shutdown() for reading. \
                      ss -K closes it too. A SYN does not change the state of a listener. It \
                      creates a half-open connection, which later becomes a child socket.",
        lasts: "As long as the program keeps the socket open.",
        governed_by: &[
            SOMAXCONN,
            SYNCOOKIES,
            MAX_SYN_BACKLOG,
            Setting {
                name: "net.ipv4.tcp_abort_on_overflow",
                default: "0",
                does: "1: reset a new connection if the accept queue is full. 0: drop the peer's \
                       ACK, so that the peer tries again. 0 is better for short bursts.",
            },
        ],
        kernel: &[
            "net/ipv4/af_inet.c: __inet_listen_sk",
            "net/ipv4/inet_connection_sock.c: inet_csk_listen_start",
            "net/ipv4/tcp_input.c: tcp_conn_request",
        ],
        rfc: "3.3.2, 3.5, 3.10.7.2",
        many: "Each service has a listener. With SO_REUSEPORT each worker of a service has one. \
               The number of listeners says little, so look at the queues. In ss -tln, Recv-Q is \
               the number of connections that wait for accept(), and Send-Q is their limit.",
        what_to_do: "Check whether Recv-Q is near Send-Q, or whether nstat -az \
                     TcpExtListenOverflows grows. Then accept() is too slow or the backlog is too \
                     small. Raise the program's backlog and net.core.somaxconn, then restart the \
                     program.",
    },
    StateText {
        state: State::SynSent,
        names: Names {
            ss: Some("SYN-SENT"),
            netstat: Some("SYN_SENT"),
            proc: Some("02"),
            rfc: Some("SYN-SENT"),
            node_exporter: Some("syn_sent"),
        },
        meaning: "connect() has sent a SYN. No answer has arrived yet.",
        moved_on_by: "The peer's SYN+ACK moves the socket to ESTABLISHED. A SYN without ACK moves \
                      it to SYN_RECV: both sides connect to each other. An RST or an ICMP error \
                      ends the socket. So does a timeout, close() or shutdown().",
        lasts: "One round trip. Without an answer, connect() fails with ETIMEDOUT after 131 s with \
                default settings, or after 127 s before 6.5.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_syn_retries",
                default: "6",
                does: "Number of SYN retransmissions, after 1, 2, 4, ... s. TCP_SYNCNT sets the \
                       number for one socket.",
            },
            Setting {
                name: "net.ipv4.tcp_syn_linear_timeouts",
                default: "4, since 6.5",
                does: "Number of additional SYN retransmissions, one per second. They come before \
                       the others.",
            },
            USER_TIMEOUT,
        ],
        kernel: &[
            "net/ipv4/tcp_ipv4.c: tcp_v4_connect",
            "net/ipv6/tcp_ipv6.c: tcp_v6_connect",
            "net/ipv4/tcp_input.c: tcp_rcv_synsent_state_process",
            "net/ipv4/tcp_timer.c: tcp_write_timeout",
        ],
        rfc: "3.3.2, 3.5, 3.10.1, 3.10.7.3",
        many: "A destination does not answer. A firewall drops the SYN, the host is down, or the \
               queues of the listener are full. Each socket holds a local port.",
        what_to_do: "Find the destinations with tcpstate count --state syn-sent --by remote, or \
                     with ss -tan state syn-sent. Check the network path, then the queues of the \
                     peer. Set a connect timeout in the program instead of lowering \
                     tcp_syn_retries for all programs.",
    },
    StateText {
        state: State::SynRecv,
        names: Names {
            ss: Some("SYN-RECV"),
            netstat: Some("SYN_RECV"),
            proc: Some("03"),
            rfc: Some("SYN-RECEIVED"),
            node_exporter: Some("syn_recv"),
        },
        meaning: "The connection is half-open. A SYN has arrived and a SYN+ACK was sent, but the \
                  last ACK of the handshake is missing. Nearly all of these sockets are request \
                  sockets. A request socket is a mini socket: a small kernel struct that stands \
                  for a connection. It belongs to the listener, no program holds it, and no \
                  transition reports it. Inside the kernel its state is NEW_SYN_RECV. Full sockets \
                  are in SYN_RECV in three cases: a child socket just after its creation, Fast \
                  Open, and two sides that connect to each other.",
        moved_on_by: "The peer's ACK creates a child socket, which becomes ESTABLISHED. The peer's \
                      RST or a timeout removes the request socket. The kernel drops the ACK if the \
                      accept queue is full. With TCP_DEFER_ACCEPT it also drops an ACK without \
                      data. After such a drop the request socket stays.",
        lasts: "One round trip. Without the ACK, 63 s with default settings. The time is shorter \
                while the queue is more than half full, because the kernel then removes old \
                request sockets earlier.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_synack_retries",
                default: "5",
                does: "Number of SYN+ACK retransmissions, after 1, 2, 4, ... s.",
            },
            SOMAXCONN,
            SYNCOOKIES,
            MAX_SYN_BACKLOG,
        ],
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_conn_request",
            "net/ipv4/inet_connection_sock.c: reqsk_timer_handler",
            "net/ipv4/inet_connection_sock.c: inet_csk_clone_lock",
            "net/ipv4/tcp_minisocks.c: tcp_check_req",
        ],
        rfc: "3.3.2, 3.5, 3.10.7.2, 3.10.7.4",
        many: "There is a SYN flood, or the ACKs of the clients do not arrive. Or the accept queue \
               is full because accept() is too slow.",
        what_to_do: "Compare two counters with nstat -az. TcpExtListenOverflows grows if accept() \
                     is too slow. TcpExtTCPReqQFullDoCookies grows if the queue of half-open \
                     connections is full. Keep tcp_syncookies at 1. For bursts, raise the backlog \
                     and net.core.somaxconn. tcpstate count --state syn-recv --by remote shows the \
                     clients.",
    },
    StateText {
        state: State::Established,
        names: Names {
            ss: Some("ESTAB"),
            netstat: Some("ESTABLISHED"),
            proc: Some("01"),
            rfc: Some("ESTABLISHED"),
            node_exporter: Some("established"),
        },
        meaning: "The handshake is complete and both sides may send data. Connections that wait \
                  for accept() are in this state too.",
        moved_on_by: "The program moves the socket to FIN_WAIT1 with close(), or with shutdown() \
                      for writing. The peer's FIN moves it to CLOSE_WAIT. The peer's RST ends it. \
                      A timeout ends it if the peer does not acknowledge data.",
        lasts: "Without limit while neither side sends. If data stay without an ACK, the \
                connection ends after about 15 min with default settings (at least 924.6 s). The \
                kernel detects only then, or by keepalive, that the peer is gone.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_retries2",
                default: "15",
                does: "Number of retransmissions of data before the connection ends. 15 \
                       retransmissions take at least 924.6 s.",
            },
            KEEPALIVE_TIME,
            KEEPALIVE_INTVL,
            KEEPALIVE_PROBES,
            USER_TIMEOUT,
        ],
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_established",
            "net/ipv4/tcp_input.c: tcp_finish_connect",
            "net/ipv4/tcp_timer.c: tcp_write_timeout",
            "net/ipv4/tcp_timer.c: tcp_keepalive_timer",
        ],
        rfc: "3.3.2, 3.8.3, 3.8.4, 3.10.7.4",
        many: "Usually this is normal load. If the number only grows, a connection pool has no \
               limit, or peers disappeared without a FIN. Examples are a host that lost power and \
               a firewall that dropped the connection. Without keepalive such sockets stay \
               forever. Sockets without a process wait for accept().",
        what_to_do: "Find the peers with tcpstate count --state established --by remote. Let \
                     programs set TCP_USER_TIMEOUT, or SO_KEEPALIVE with a time below 2 h. Limit \
                     the size of connection pools.",
    },
    StateText {
        state: State::FinWait1,
        names: Names {
            ss: Some("FIN-WAIT-1"),
            netstat: Some("FIN_WAIT1"),
            proc: Some("04"),
            rfc: Some("FIN-WAIT-1"),
            node_exporter: Some("fin_wait1"),
        },
        meaning: "This side has closed the connection with close(), or with shutdown() for \
                  writing. The peer has not acknowledged the FIN yet. Linux enters this state as \
                  soon as the FIN is queued, even if data before the FIN are still unsent.",
        moved_on_by: "The peer's ACK of the FIN moves the socket to FIN_WAIT2. The peer's FIN \
                      without that ACK moves it to CLOSING. The peer's RST or a timeout ends it.",
        lasts: "One round trip, plus the time to send queued data. If the peer is silent, the \
                socket ends about 100 s after the program has closed it. It ends after at least \
                924.6 s if the program still holds it.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
        ],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Peers disappeared, or they do not read. If a peer does not read, its receive window \
               is closed, and the data before the FIN cannot be sent. Each socket may hold about \
               64 KiB of memory that cannot be swapped.",
        what_to_do: "Check Send-Q with ss -tan state fin-wait-1. On a busy web server you may \
                     lower tcp_orphan_retries. Keep tcp_max_orphans well above the usual number of \
                     orphans.",
    },
    StateText {
        state: State::FinWait2,
        names: Names {
            ss: Some("FIN-WAIT-2"),
            netstat: Some("FIN_WAIT2"),
            proc: Some("05"),
            rfc: Some("FIN-WAIT-2"),
            node_exporter: Some("fin_wait2"),
        },
        meaning: "This side has closed the connection and the peer has acknowledged the FIN. The \
                  peer has not closed yet. There are two kinds of such sockets. After shutdown() \
                  for writing, a program still holds the socket. After close(), the socket is an \
                  orphan. Linux replaces an orphan with a time-wait mini socket, which sockstat \
                  counts in tw.",
        moved_on_by: "The peer's FIN moves the socket to TIME_WAIT. The peer's RST ends it. Data \
                      that arrive for an orphan end it too: no program can read them, so the \
                      kernel answers with RST.",
        lasts: "Without limit if a program holds the socket. An orphan lasts tcp_fin_timeout, 60 s \
                by default.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_fin_timeout",
                default: "60 s",
                does: "Lifetime of orphans in FIN_WAIT2. It does not shorten TIME_WAIT. The kernel \
                       uses at least 3.5 retransmission timeouts. A value T above 60 gives 2 x \
                       (T-60) s, so 65 gives 10 s (tcp_keepalive_timer; measured on 6.18).",
            },
            Setting {
                name: "TCP_LINGER2",
                default: "off",
                does: "Lifetime of one orphan in FIN_WAIT2, at most 120 s. With a negative value \
                       the kernel ends the connection without waiting for the peer.",
            },
            Setting {
                name: "net.ipv4.tcp_max_tw_buckets",
                default: "depends on memory",
                does: "Limit of time-wait sockets. Orphans in FIN_WAIT2 count too. Above the limit \
                       the kernel closes them at once.",
            },
            KEEPALIVE_TIME,
            KEEPALIVE_INTVL,
            KEEPALIVE_PROBES,
        ],
        kernel: &[
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
            "net/ipv4/tcp_minisocks.c: tcp_timewait_state_process",
            "net/ipv4/tcp_timer.c: tcp_keepalive_timer",
        ],
        rfc: "3.3.2, 3.6, 3.6.1, 3.10.7.4",
        many: "The peers do not close. On their side the connections are in CLOSE_WAIT. Orphans \
               cost little and end by themselves. Sockets that a program holds stay.",
        what_to_do: "Run ss -tanp state fin-wait-2. A program in this list has to close its \
                     sockets, with its own timeout after shutdown(). For orphans, fix the peer. Do \
                     not change tcp_fin_timeout unless there are very many orphans.",
    },
    StateText {
        state: State::CloseWait,
        names: Names {
            ss: Some("CLOSE-WAIT"),
            netstat: Some("CLOSE_WAIT"),
            proc: Some("08"),
            rfc: Some("CLOSE-WAIT"),
            node_exporter: Some("close_wait"),
        },
        meaning: "The peer has closed the connection. The program on this side has not closed it \
                  yet. The program can read the remaining data and can still write.",
        moved_on_by: "Only the program on this side moves it on: close(), or shutdown() for \
                      writing, moves the socket to LAST_ACK. An RST of the peer ends the socket. A \
                      peer often sends RST in answer to a write.",
        lasts: "Without limit, until the program closes the socket or an RST arrives. The kernel \
                has no timeout for this state, and no sysctl adds one.",
        governed_by: &[
            KEEPALIVE_TIME,
            KEEPALIVE_INTVL,
            KEEPALIVE_PROBES,
            Setting {
                name: "net.ipv4.tcp_retries2",
                default: "15",
                does: "Ends the connection if the program writes and the peer is silent, after at \
                       least 924.6 s.",
            },
        ],
        kernel: &["net/ipv4/tcp_input.c: tcp_fin", "net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Usually a leak: a program does not close connections that its peers have closed. It \
               will run out of file descriptors. Or the program is blocked or too slow. Sockets \
               without a process were never accepted: the client closed while the connection was \
               in the accept queue.",
        what_to_do: "Find the program with tcpstate count --state close-wait --by process, or with \
                     ss -tanp state close-wait. Fix the program: it has to close the connection on \
                     every code path, also after an error. A restart frees the sockets. A sysctl \
                     cannot free them. If there is no process, find out why accept() is slow.",
    },
    StateText {
        state: State::Closing,
        names: Names {
            ss: Some("CLOSING"),
            netstat: Some("CLOSING"),
            proc: Some("0B"),
            rfc: Some("CLOSING"),
            node_exporter: Some("closing"),
        },
        meaning: "Both sides closed at the same time and their FINs crossed. The peer has not \
                  acknowledged the FIN of this side yet.",
        moved_on_by: "The peer's ACK of the FIN moves the connection to TIME_WAIT. A mini socket \
                      then replaces the full socket, so the kernel reports CLOSING -> CLOSE. The \
                      peer's RST or a timeout ends the socket.",
        lasts: "One round trip. If the peer is silent, the socket ends about 100 s after the \
                program has closed it. It ends after at least 924.6 s if the program still holds \
                it.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_fin",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
        ],
        rfc: "3.3.2, 3.6, 3.10.7.4",
        many: "The state is rare. Many sockets mean that the network lost the ACKs, or that peers \
               disappeared while both sides closed. A restart of a load balancer can cause this.",
        what_to_do: "Look for packet loss towards these peers: ss -tni state closing shows \
                     retransmissions. The sockets end by themselves.",
    },
    StateText {
        state: State::LastAck,
        names: Names {
            ss: Some("LAST-ACK"),
            netstat: Some("LAST_ACK"),
            proc: Some("09"),
            rfc: Some("LAST-ACK"),
            node_exporter: Some("last_ack"),
        },
        meaning: "The peer closed first, and then this side closed too. The ACK of this side's FIN \
                  has not arrived yet.",
        moved_on_by: "The peer's ACK or RST ends the socket. So does a timeout. No TIME_WAIT \
                      follows on this side. The TIME_WAIT is on the side that closed first.",
        lasts: "One round trip, plus the time to send queued data. If the peer is silent, the \
                socket ends about 100 s after the program has closed it. It ends after at least \
                924.6 s if the program still holds it.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
        ],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Peers disappeared after their FIN. Examples are mobile clients, firewalls that \
               forget a connection at the first FIN, and peers whose orphans in FIN_WAIT2 timed \
               out. Or the data before the FIN of this side cannot be sent.",
        what_to_do: "Check Send-Q and retransmissions with ss -tni state last-ack. If many sockets \
                     stay for long, lower tcp_orphan_retries.",
    },
    StateText {
        state: State::TimeWait,
        names: Names {
            ss: Some("TIME-WAIT"),
            netstat: Some("TIME_WAIT"),
            proc: Some("06"),
            rfc: Some("TIME-WAIT"),
            node_exporter: Some("time_wait"),
        },
        meaning: "The connection is over. This side closed first, or both sides closed at the same \
                  time. A mini socket keeps the addresses and ports for a while. So late segments \
                  cannot reach a new connection, and the last ACK can be sent again. No program \
                  holds the mini socket.",
        moved_on_by: "Time ends it. On a server, a SYN from the same peer and port replaces it at \
                      once if its sequence number or timestamp is later. On a client, connect() \
                      may reuse its port if tcp_tw_reuse allows that. An RST ends it unless \
                      tcp_rfc1337 is 1.",
        lasts: "60 s, a constant in the kernel (TCP_TIMEWAIT_LEN). A late segment starts the 60 s \
                again. No sysctl changes this time, and tcp_fin_timeout does not either.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_tw_reuse",
                default: "2",
                does: "Whether connect() may reuse addresses and ports in TIME_WAIT. 0: no. 1: \
                       yes. 2: over loopback only. The old connection needs timestamps and must be \
                       in TIME_WAIT for 1 s. Incoming connections are not affected.",
            },
            Setting {
                name: "net.ipv4.tcp_tw_reuse_delay",
                default: "1000 ms, since 6.14",
                does: "Time in TIME_WAIT before connect() may reuse the port.",
            },
            Setting {
                name: "net.ipv4.tcp_max_tw_buckets",
                default: "depends on memory",
                does: "Limit of time-wait sockets. Above it connections close without TIME_WAIT, \
                       and TcpExt TCPTimeWaitOverflow counts them. The limit protects against \
                       attacks: raise it if necessary, do not lower it.",
            },
            Setting {
                name: "net.ipv4.tcp_rfc1337",
                default: "0",
                does: "1: an RST does not end TIME_WAIT.",
            },
            Setting {
                name: "net.ipv4.tcp_tw_recycle",
                default: "none, removed in 4.12",
                does: "Nothing since 4.12. Before, it broke clients behind NAT. Guides that \
                       recommend it are out of date.",
            },
        ],
        kernel: &[
            "include/net/tcp.h: TCP_TIMEWAIT_LEN",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
            "net/ipv4/tcp_minisocks.c: tcp_timewait_state_process",
            "net/ipv4/inet_timewait_sock.c: inet_twsk_alloc",
            "net/ipv4/inet_timewait_sock.c: tw_timer_handler",
            "net/ipv4/tcp_ipv4.c: tcp_twsk_unique",
        ],
        rfc: "3.3.2, 3.4.2, 3.6.1, 3.10.7.4, 3.10.8",
        many: "On a server's own port they are harmless, whatever the number. They use no \
               additional port, and the server accepts a new SYN. On a client with one \
               destination, each socket holds a local port for 60 s. The 28,232 ports of \
               32768-60999 are used up at 470 connections per second.",
        what_to_do: "On a server, do nothing. A client should keep connections open (pool, \
                     keep-alive) or let the other side close first. If that is not enough, add \
                     source addresses or widen ip_local_port_range. As a last step set \
                     tcp_tw_reuse=1. tcpstate count --state time-wait --by remote shows the \
                     destinations.",
    },
    StateText {
        state: State::Close,
        names: Names {
            ss: Some("UNCONN"),
            netstat: Some("CLOSE"),
            proc: Some("07"),
            rfc: Some("CLOSED"),
            node_exporter: Some("close"),
        },
        meaning: "There is no connection: the socket is new, or its connection is over. The kernel \
                  lists such a socket in no table of connections. So no tool shows it, and \
                  tcpstate does not count it. Transitions of a connection begin and end in CLOSE. \
                  X -> CLOSE is also reported when a mini socket in TIME_WAIT or FIN_WAIT2 \
                  replaces a full socket.",
        moved_on_by: "The program calls connect() or listen(). It may call them again after a \
                      connection is over.",
        lasts: "As long as the program keeps the socket open.",
        governed_by: &[Setting {
            name: "RLIMIT_NOFILE (ulimit -n)",
            default: "set by systemd or the shell",
            does: "Limit of open file descriptors per process, including sockets.",
        }],
        kernel: &[
            "net/core/sock.c: sock_init_data_uid",
            "net/ipv4/tcp.c: tcp_set_state",
            "net/ipv4/tcp.c: tcp_done",
        ],
        rfc: "3.3.2, 3.10.7.1",
        many: "A program opened sockets and did not use them, or did not close them after their \
               connections were over. A sign of this: in the TCP line of /proc/net/sockstat, alloc \
               is well above inuse. The number alloc counts the sockets of the host in any state.",
        what_to_do: "List the file descriptors of the program: ls -l /proc/PID/fd shows sockets \
                     that ss does not list.",
    },
    StateText {
        state: State::NewSynRecv,
        names: Names {
            ss: Some("SYN-RECV"),
            netstat: Some("SYN_RECV"),
            proc: Some("03"),
            rfc: None,
            node_exporter: Some("syn_recv"),
        },
        meaning: "The kernel's own state for request sockets, which are the mini sockets of \
                  half-open connections. Every interface shows it as SYN_RECV, and tcpstate counts \
                  it as SYN_RECV.",
        moved_on_by: "A request socket never changes its state. The peer's ACK replaces it with a \
                      child socket (LISTEN -> SYN_RECV). An RST or a timeout removes it.",
        lasts: "As long as SYN_RECV: 63 s without an ACK, with default settings.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_synack_retries",
                default: "5",
                does: "Number of SYN+ACK retransmissions, after 1, 2, 4, ... s.",
            },
            SOMAXCONN,
            SYNCOOKIES,
        ],
        kernel: &[
            "include/net/tcp_states.h: TCP_NEW_SYN_RECV",
            "net/ipv4/inet_diag.c: inet_req_diag_fill",
            "net/ipv4/tcp_ipv4.c: get_openreq4",
        ],
        rfc: "3.5, the half-open case of SYN-RECEIVED",
        many: "See SYN_RECV.",
        what_to_do: "See SYN_RECV: run tcpstate explain SYN_RECV.",
    },
    StateText {
        state: State::BoundInactive,
        names: Names {
            ss: Some("UNCONN"),
            netstat: None,
            proc: None,
            rfc: None,
            node_exporter: None,
        },
        meaning: "This is not a state of a socket but a filter for sock_diag, available since 6.8. \
                  It selects sockets in CLOSE to which bind() gave a port. The answer shows them \
                  as CLOSE.",
        moved_on_by: "The program calls connect() or listen().",
        lasts: "As long as the program keeps the socket open.",
        governed_by: &[Setting {
            name: "net.ipv4.ip_local_port_range",
            default: "32768 60999",
            does: "Range in which bind() to port 0 looks for a port. Other programs cannot use the \
                   port of such a socket.",
        }],
        kernel: &[
            "include/net/tcp_states.h: TCP_BOUND_INACTIVE",
            "net/ipv4/inet_diag.c: inet_diag_dump_icsk",
        ],
        rfc: "3.3.2, a case of CLOSED",
        many: "Programs call bind() and then wait. Each socket holds a port, and no other \
               interface shows the socket.",
        what_to_do: "List the sockets with ss -tB. It needs iproute2 6.8 or newer and kernel 6.8 \
                     or newer.",
    },
];
