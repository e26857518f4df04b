//! The texts of the states. Times and defaults are those of Linux 6.12 unless the text says
//! otherwise.
//!
//! The file is long because it is a table of texts: one entry for each state, and no code.

use tcpstate_common::State;

use super::{Names, Setting, StateText};

/// The sysctl that limits how often the kernel retransmits for an orphan whose peer does not
/// answer. The limit applies in FIN_WAIT1, CLOSING and LAST_ACK.
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
           the limit the kernel resets orphans and counts them in TcpExt TCPAbortOnMemory. \
           tcp_max_orphans protects against attacks: raise the limit if necessary, but do not \
           lower it.",
};

const USER_TIMEOUT: Setting = Setting {
    name: "TCP_USER_TIMEOUT",
    default: "off",
    does: "Timeout of one socket, in milliseconds. The kernel uses this timeout instead of the \
           number of retransmissions.",
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
    does: "The smaller of the two values limits both queues of a listener: the queue of half-open \
           connections and the accept queue. listen() reads the values, so the program has to call \
           listen() again after a change.",
};

const SYNCOOKIES: Setting = Setting {
    name: "net.ipv4.tcp_syncookies",
    default: "1",
    does: "Answer to a SYN when the queue of half-open connections is full. With 1 the kernel \
           sends a SYN cookie and stores nothing. With 0 the kernel drops the SYN. With 2 the \
           kernel answers every SYN with a cookie, which is for tests only.",
};

const MAX_SYN_BACKLOG: Setting = Setting {
    name: "net.ipv4.tcp_max_syn_backlog",
    default: "depends on memory, at least 128",
    does: "Number of half-open connections per listener, used only if tcp_syncookies is 0. The \
           last quarter of this number is reserved for peers that the kernel knows from earlier \
           connections.",
};

/// The texts of all states, in the order in which a connection passes through the states. The last
/// three states are CLOSE and two states that only the kernel uses.
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
                  Connections in the accept queue show as ESTABLISHED.",
        moved_on_by: "The program closes the socket with close(), or with shutdown() for reading. \
                      ss -K closes the socket too. A SYN does not change the state of a listener. \
                      The SYN creates a half-open connection, which later becomes a child socket.",
        lasts: "The state lasts as long as the program keeps the socket open.",
        governed_by: &[
            SOMAXCONN,
            SYNCOOKIES,
            MAX_SYN_BACKLOG,
            Setting {
                name: "net.ipv4.tcp_abort_on_overflow",
                default: "0",
                does: "Answer to the last ACK of a handshake when the accept queue is full. With 1 \
                       the kernel resets the connection. With 0 the kernel drops the ACK, and the \
                       peer tries again. The value 0 is better for short bursts.",
            },
        ],
        kernel: &[
            "net/ipv4/af_inet.c: __inet_listen_sk",
            "net/ipv4/inet_connection_sock.c: inet_csk_listen_start",
            "net/ipv4/tcp_input.c: tcp_conn_request",
        ],
        rfc: "3.3.2, 3.5, 3.10.7.2",
        many: "Each service has a listener. With SO_REUSEPORT each worker of a service has a \
               listener. The number of listeners says little, so look at the queues. In ss -tln, \
               Recv-Q is the number of connections that wait for accept(), and Send-Q is their \
               limit.",
        what_to_do: "Check whether Recv-Q is near Send-Q, or whether nstat -az \
                     TcpExtListenOverflows grows. In both cases accept() is too slow or the \
                     backlog is too small. Raise the program's backlog and net.core.somaxconn, \
                     then restart the program.",
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
                      the socket to SYN_RECV, because both sides connect to each other. An RST, an \
                      ICMP error, a timeout, close() or shutdown() ends the socket.",
        lasts: "The state lasts one round trip. Without an answer, connect() fails with ETIMEDOUT \
                after 131 s with default settings, or after 127 s before 6.5.",
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
                does: "Number of additional SYN retransmissions, one per second. The \
                       retransmissions of tcp_syn_retries follow them.",
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
               queues of the listener are full. Each socket in SYN_SENT holds a local port.",
        what_to_do: "Find the destinations with tcpstate count --state syn-sent --by remote, or \
                     with ss -tan state syn-sent. Check the network path, then the queues of the \
                     peer's listener. Set a connect timeout in the program instead of lowering \
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
                  for a connection. A request socket belongs to the listener. No program holds a \
                  request socket, and no transition reports it. Inside the kernel the state of a \
                  request socket is NEW_SYN_RECV. Full sockets are in SYN_RECV in three cases: a \
                  child socket just after its creation, Fast Open, and two sides that connect to \
                  each other.",
        moved_on_by: "The peer's ACK creates a child socket, which becomes ESTABLISHED. The peer's \
                      RST or a timeout removes the request socket. The kernel drops the ACK if the \
                      accept queue is full. With TCP_DEFER_ACCEPT the kernel also drops an ACK \
                      without data. The request socket stays after the kernel has dropped the \
                      ACK.",
        lasts: "The state lasts one round trip. Without the peer's ACK, the state lasts 63 s with \
                default settings. If the queue of half-open connections is more than half full, \
                the kernel removes old request sockets earlier.",
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
        many: "Possible causes are a SYN flood, lost ACKs of the clients, and an accept queue that \
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
                      for writing. The peer's FIN moves the socket to CLOSE_WAIT. The peer's RST \
                      ends the socket. A timeout ends the socket if the peer does not acknowledge \
                      data.",
        lasts: "The state has no time limit while neither side sends. If the peer does not \
                acknowledge data, the connection ends after about 15 min with default settings (at \
                least 924.6 s). Only this timeout or keepalive detects that the peer is gone.",
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
        many: "Many connections in ESTABLISHED are usually normal load. If their number only \
               grows, a connection pool has no limit, or peers disappeared without a FIN. A peer \
               disappears if its host loses power or if a firewall drops the connection. Without \
               keepalive the sockets of such peers stay forever. Sockets without a process wait \
               for accept().",
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
                      without an ACK of this side's FIN moves the socket to CLOSING. The peer's \
                      RST or a timeout ends the socket.",
        lasts: "The state lasts one round trip, plus the time to send queued data. If the peer is \
                silent, the socket ends about 100 s after the program has closed it. If the \
                program still holds the socket, the socket ends after at least 924.6 s.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
        ],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Peers disappeared, or peers do not read data. If a peer does not read, its receive \
               window is closed, and the data before the FIN cannot be sent. Each socket in \
               FIN_WAIT1 may hold about 64 KiB of memory that cannot be swapped.",
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
                  peer has not closed yet. There are two kinds of sockets in FIN_WAIT2. After \
                  shutdown() for writing, a program still holds the socket. After close(), the \
                  socket is an orphan. Linux replaces an orphan with a time-wait mini socket, \
                  which sockstat counts in tw.",
        moved_on_by: "The peer's FIN moves the socket to TIME_WAIT. The peer's RST ends the \
                      socket. Data that arrive for an orphan end the orphan too. No program can \
                      read the data, so the kernel answers with RST.",
        lasts: "If a program holds the socket, FIN_WAIT2 has no time limit. An orphan stays for \
                tcp_fin_timeout, 60 s by default.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_fin_timeout",
                default: "60 s",
                does: "Lifetime of orphans in FIN_WAIT2. tcp_fin_timeout does not shorten \
                       TIME_WAIT. The kernel waits for at least 3.5 retransmission timeouts. A \
                       value T above 60 gives a lifetime of 2 x (T-60) s, so 65 gives 10 s \
                       (tcp_keepalive_timer; measured on 6.18).",
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
                does: "Limit of time-wait sockets. Orphans in FIN_WAIT2 count as time-wait \
                       sockets. Above the limit the kernel closes orphans in FIN_WAIT2 at once.",
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
        many: "The peers have not closed the connections. On the side of the peers the connections \
               are in CLOSE_WAIT. Orphans cost little and end by themselves. Sockets that a \
               program holds do not end by themselves.",
        what_to_do: "Find the programs with ss -tanp state fin-wait-2. After shutdown(), a program \
                     has to close its socket after a timeout of its own. If the sockets are \
                     orphans, fix the peer. Do not change tcp_fin_timeout unless there are very \
                     many orphans.",
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
        meaning: "The peer has closed the connection. The program on this side has not closed the \
                  connection yet. The program can read the remaining data and can still write.",
        moved_on_by: "Only the program on this side can move the socket to LAST_ACK, with close() \
                      or with shutdown() for writing. An RST of the peer ends the socket. A peer \
                      often sends RST in answer to a write.",
        lasts: "CLOSE_WAIT lasts until the program closes the socket or an RST arrives. The kernel \
                has no timeout for CLOSE_WAIT, and no sysctl adds a timeout.",
        governed_by: &[
            KEEPALIVE_TIME,
            KEEPALIVE_INTVL,
            KEEPALIVE_PROBES,
            Setting {
                name: "net.ipv4.tcp_retries2",
                default: "15",
                does: "Number of retransmissions of data before the connection ends. If the \
                       program writes and the peer is silent, the connection ends after at least \
                       924.6 s.",
            },
        ],
        kernel: &["net/ipv4/tcp_input.c: tcp_fin", "net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "The cause is usually a leak: a program does not close connections that its peers \
               have closed. The program will run out of file descriptors. Another cause is a \
               program that is blocked or too slow. Sockets without a process were never accepted: \
               the client closed while the connection was in the accept queue.",
        what_to_do: "Find the program with tcpstate count --state close-wait --by process, or with \
                     ss -tanp state close-wait. Fix the program: it has to close the connection on \
                     every code path, also after an error. A restart of the program frees the \
                     sockets. No sysctl frees the sockets. If the sockets have no process, find \
                     out why accept() is slow.",
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
        lasts: "The state lasts one round trip. If the peer is silent, the socket ends about 100 s \
                after the program has closed it. If the program still holds the socket, the socket \
                ends after at least 924.6 s.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_fin",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
        ],
        rfc: "3.3.2, 3.6, 3.10.7.4",
        many: "CLOSING is a rare state. Many sockets in CLOSING mean that the network lost the \
               ACKs, or that peers disappeared while both sides closed. A restart of a load \
               balancer can cause many sockets in CLOSING.",
        what_to_do: "Look for packet loss towards these peers: ss -tni state closing shows \
                     retransmissions. Sockets in CLOSING end by themselves.",
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
        moved_on_by: "The peer's ACK, the peer's RST or a timeout ends the socket. No TIME_WAIT \
                      follows on this side. Only the side that closed first enters TIME_WAIT.",
        lasts: "The state lasts one round trip, plus the time to send queued data. If the peer is \
                silent, the socket ends about 100 s after the program has closed it. If the \
                program still holds the socket, the socket ends after at least 924.6 s.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
        ],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Peers disappeared after their FIN, or this side cannot send the data before its own \
               FIN. Mobile clients often disappear. A firewall may forget a connection at the \
               first FIN. The peer's orphan in FIN_WAIT2 may have timed out.",
        what_to_do: "Check Send-Q and retransmissions with ss -tni state last-ack. If many sockets \
                     stay in LAST_ACK for long, lower tcp_orphan_retries.",
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
                  time. A mini socket keeps the addresses and ports for a while. Late segments \
                  therefore cannot reach a new connection, and the last ACK can be sent again. No \
                  program holds the mini socket.",
        moved_on_by: "A timer ends the mini socket. On a server, a SYN from the same peer and port \
                      replaces the mini socket if the SYN has a later sequence number or \
                      timestamp. On a client, connect() may reuse the port of the mini socket if \
                      tcp_tw_reuse allows that. An RST ends the mini socket unless tcp_rfc1337 is \
                      1.",
        lasts: "TIME_WAIT lasts 60 s, a constant in the kernel (TCP_TIMEWAIT_LEN). A late segment \
                starts the 60 s again. No sysctl changes the duration of TIME_WAIT, not even \
                tcp_fin_timeout.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_tw_reuse",
                default: "2",
                does: "Whether connect() may reuse addresses and ports in TIME_WAIT. 0 means \
                       never, 1 means always, and 2 means over loopback only. The old connection \
                       must have used timestamps and must have been in TIME_WAIT for 1 s. \
                       tcp_tw_reuse does not affect incoming connections.",
            },
            Setting {
                name: "net.ipv4.tcp_tw_reuse_delay",
                default: "1000 ms, since 6.14",
                does: "How long a socket is in TIME_WAIT before connect() may reuse its port.",
            },
            Setting {
                name: "net.ipv4.tcp_max_tw_buckets",
                default: "depends on memory",
                does: "Limit of time-wait sockets. Above the limit connections close without \
                       TIME_WAIT, and TcpExt TCPTimeWaitOverflow counts these connections. \
                       tcp_max_tw_buckets protects against attacks: raise the limit if necessary, \
                       but do not lower it.",
            },
            Setting {
                name: "net.ipv4.tcp_rfc1337",
                default: "0",
                does: "With 1 an RST does not end TIME_WAIT.",
            },
            Setting {
                name: "net.ipv4.tcp_tw_recycle",
                default: "none, removed in 4.12",
                does: "tcp_tw_recycle broke clients behind NAT, so 4.12 removed it. Guides that \
                       recommend tcp_tw_recycle are out of date.",
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
        many: "On a server's own port, any number of sockets in TIME_WAIT is harmless. The sockets \
               use no additional port, and the server accepts a new SYN. On a client with one \
               destination, each socket holds a local port for 60 s. At 470 connections per \
               second, all 28,232 ports from 32768 to 60999 are in use.",
        what_to_do: "On a server, do nothing. A client should keep connections open (pool, \
                     keep-alive) or let the other side close first. If these changes are not \
                     enough, add source addresses or widen ip_local_port_range. As a last step set \
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
        meaning: "A socket in CLOSE has no connection: the socket is new, or its connection is \
                  over. The kernel lists a socket in CLOSE in no table of connections. Therefore \
                  no tool shows sockets in CLOSE, and tcpstate does not count them. Transitions of \
                  a connection begin and end in CLOSE. X -> CLOSE is also reported when a mini \
                  socket in TIME_WAIT or FIN_WAIT2 replaces a full socket.",
        moved_on_by: "The program calls connect() or listen(). After a connection is over, the \
                      program may call connect() or listen() again.",
        lasts: "The state lasts as long as the program keeps the socket open.",
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
               connections were over. A sign of such sockets is that alloc is well above inuse in \
               the TCP line of /proc/net/sockstat. The number alloc counts the sockets of the host \
               in any state.",
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
        meaning: "NEW_SYN_RECV is the kernel's own state for request sockets, which are the mini \
                  sockets of half-open connections. Every interface shows NEW_SYN_RECV as \
                  SYN_RECV, and tcpstate counts request sockets as SYN_RECV.",
        moved_on_by: "A request socket never changes its state. The peer's ACK replaces the \
                      request socket with a child socket (LISTEN -> SYN_RECV). An RST or a timeout \
                      removes the request socket.",
        lasts: "NEW_SYN_RECV lasts as long as SYN_RECV: 63 s without an ACK, with default \
                settings.",
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
        meaning: "BOUND_INACTIVE is not a state of a socket but a filter for sock_diag, available \
                  since 6.8. The filter selects sockets in CLOSE to which bind() gave a port. The \
                  answer of sock_diag shows the sockets as CLOSE.",
        moved_on_by: "The program calls connect() or listen().",
        lasts: "The state lasts as long as the program keeps the socket open.",
        governed_by: &[Setting {
            name: "net.ipv4.ip_local_port_range",
            default: "32768 60999",
            does: "Range in which bind() to port 0 looks for a port. Other programs cannot use the \
                   port that bind() has chosen.",
        }],
        kernel: &[
            "include/net/tcp_states.h: TCP_BOUND_INACTIVE",
            "net/ipv4/inet_diag.c: inet_diag_dump_icsk",
        ],
        rfc: "3.3.2, a case of CLOSED",
        many: "Programs call bind() and then wait. Each of these sockets holds a port, and no \
               other interface shows the sockets.",
        what_to_do: "List the sockets with ss -tB. ss -tB needs iproute2 6.8 or newer and kernel \
                     6.8 or newer.",
    },
];
