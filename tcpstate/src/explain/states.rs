//! The states, one by one. Times and defaults are those of Linux 6.12, where nothing else is said.
//!
//! Long because it is a table of texts: one entry for each state, and no code.

use tcpstate_common::State;

use super::{Names, Setting, StateText};

/// What a peer that is gone costs a socket that its program has closed: the same in three states.
const ORPHAN_RETRIES: Setting = Setting {
    name: "net.ipv4.tcp_orphan_retries",
    default: "0, which means 8",
    does: "how often a socket that its program has closed sends its FIN or its data again: 8 times are some 100 s",
};

const RETRIES2: Setting = Setting {
    name: "net.ipv4.tcp_retries2",
    default: "15",
    does: "the same while a program holds the socket: 15 times are 924.6 s at least",
};

const MAX_ORPHANS: Setting = Setting {
    name: "net.ipv4.tcp_max_orphans",
    default: "by memory",
    does: "above it the kernel resets sockets that their programs have closed (TcpExt TCPAbortOnMemory); a guard against \
           attacks, to be raised rather than lowered",
};

const USER_TIMEOUT: Setting = Setting {
    name: "TCP_USER_TIMEOUT",
    default: "off",
    does: "a limit for this one socket, in milliseconds, whatever the number of retries",
};

const KEEPALIVE: Setting = Setting {
    name: "net.ipv4.tcp_keepalive_time, _intvl, _probes",
    default: "7200 s, 75 s, 9",
    does: "only for sockets with SO_KEEPALIVE: an idle peer that is gone is found out after 2 h 11 min, one that has \
           forgotten the connection answers the first probe with RST, after 2 h",
};

const SOMAXCONN: Setting = Setting {
    name: "net.core.somaxconn, listen(backlog)",
    default: "4096; 128 before 5.4",
    does: "the smaller of the two bounds both queues of a listener, the half-open and the finished one; it is taken at \
           listen(), so that a program has to call that again",
};

const SYNCOOKIES: Setting = Setting {
    name: "net.ipv4.tcp_syncookies",
    default: "1",
    does: "what a SYN gets when the half-open queue is full: 1, a cookie, and nothing is kept; 0, nothing; 2 is for tests: \
           always cookies",
};

const MAX_SYN_BACKLOG: Setting = Setting {
    name: "net.ipv4.tcp_max_syn_backlog",
    default: "by memory, 128 at least",
    does: "of effect only with tcp_syncookies=0: its last quarter is kept for peers that are known",
};

/// Every state, in the order a connection lives through them; then the two that only the kernel knows, and CLOSE.
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
        meaning: "A program waits for connections to this address and port. The socket has two queues: of half-open \
                  connections (they show as SYN_RECV), and of finished ones that accept() has not fetched yet (they show as \
                  ESTABLISHED).",
        moved_on_by: "The program alone: close(), or shutdown() of reading. A SYN does not move it: that makes a half-open \
                      connection beside it, and later a child of it.",
        lasts: "As long as the program keeps it open.",
        governed_by: &[
            SOMAXCONN,
            SYNCOOKIES,
            MAX_SYN_BACKLOG,
            Setting {
                name: "net.ipv4.tcp_abort_on_overflow",
                default: "0",
                does: "1 resets a connection that finds the queue of finished ones full; 0 lets the peer try again, which \
                       heals bursts",
            },
        ],
        kernel: &[
            "net/ipv4/af_inet.c: __inet_listen_sk",
            "net/ipv4/inet_connection_sock.c: inet_csk_listen_start",
            "net/ipv4/tcp_input.c: tcp_conn_request",
        ],
        rfc: "3.3.2, 3.5, 3.10.7.2",
        many: "As many services and workers listen: with SO_REUSEPORT each worker has one. The number tells nothing, the \
               queues do: in ss -tln, Recv-Q is what waits for accept(), Send-Q its bound.",
        what_to_do: "Recv-Q near Send-Q, or TcpExt ListenOverflows that grows (nstat -az TcpExtListenOverflows): accept() is \
                     too slow or the backlog too small. Raise both the program's backlog and somaxconn, then start the \
                     program anew.",
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
        meaning: "connect() has sent a SYN, and nothing has come back yet.",
        moved_on_by: "The peer: SYN+ACK makes it ESTABLISHED; a SYN, where both sides connect to each other, SYN_RECV; RST or \
                      an ICMP error ends it. So do time, close() and shutdown().",
        lasts: "One round trip. Without an answer 131 s at the defaults, 127 s before 6.5; then connect() fails with \
                ETIMEDOUT.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_syn_retries",
                default: "6",
                does: "how often the SYN is sent again, after 1, 2, 4, ... s; TCP_SYNCNT is the same for one socket",
            },
            Setting {
                name: "net.ipv4.tcp_syn_linear_timeouts",
                default: "4, since 6.5",
                does: "as many more times, one second apart, before that",
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
        many: "Somebody does not answer: a firewall drops the SYN, the host is down, or the listener's queues are full. Each \
               holds a local port meanwhile.",
        what_to_do: "See where they go: tcpstate count --state syn-sent --by remote, or ss -tan state syn-sent. Look at the \
                     path, then at the peer's queues. Give programs a connect timeout of their own rather than lower \
                     tcp_syn_retries for all.",
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
        meaning: "Half-open: a SYN came, SYN+ACK went out, the last ACK of the handshake is awaited. Nearly all are request \
                  sockets, mini sockets that hang from the listener (NEW_SYN_RECV inside the kernel): no program has them, \
                  and no transition tells of them. Full sockets are in this state in three cases: a child between its \
                  birth and its last ACK, a few instructions long; Fast Open; and two sides that connect to each other.",
        moved_on_by: "The peer: its ACK makes a child that becomes ESTABLISHED, its RST ends it. An ACK that finds the \
                      listener's queue of finished connections full, or that comes without data under TCP_DEFER_ACCEPT, is \
                      dropped, and the socket stays.",
        lasts: "One round trip. Without the ACK 63 s at the defaults; less while the queue is more than half full, since old \
                ones then give way to young ones.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_synack_retries",
                default: "5",
                does: "how often SYN+ACK is sent again, after 1, 2, 4, ... s",
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
        many: "A SYN flood; or clients whose ACKs do not arrive; or a listener whose queue of finished connections is full, \
               because accept() is slow.",
        what_to_do: "Tell the cases apart by counters (nstat -az): TcpExtListenOverflows grows when accept() is slow, \
                     TcpExtTCPReqQFullDoCookies when the half-open queue is full. Leave tcp_syncookies at 1, raise backlog \
                     and somaxconn for bursts, and see who sends them: tcpstate count --state syn-recv --by remote.",
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
        meaning: "The handshake is done, data may flow both ways. Connections that accept() has not fetched yet are in this \
                  state too.",
        moved_on_by: "The program: close() or shutdown() of writing makes it FIN_WAIT1. The peer: its FIN makes it \
                      CLOSE_WAIT, its RST ends it. Time ends it when data stay without an ACK.",
        lasts: "Without limit as long as nobody sends. Data without an ACK end it after some 15 min at the defaults (924.6 s \
                at least). That the peer is gone is noticed only then, or by keepalive.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_retries2",
                default: "15",
                does: "how often data are sent again before the connection is given up: 15 times are 924.6 s at least",
            },
            KEEPALIVE,
            USER_TIMEOUT,
        ],
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_established",
            "net/ipv4/tcp_input.c: tcp_finish_connect",
            "net/ipv4/tcp_timer.c: tcp_write_timeout",
            "net/ipv4/tcp_timer.c: tcp_keepalive_timer",
        ],
        rfc: "3.3.2, 3.8.3, 3.8.4, 3.10.7.4",
        many: "Mostly load. If they only grow: pools without a bound, or peers that vanished without a FIN (a host that \
               lost power, a firewall that forgot them), which stay for ever without keepalive. Those without a process \
               wait for accept().",
        what_to_do: "See who is at the other end: tcpstate count --state established --by remote. Have programs set \
                     SO_KEEPALIVE, with shorter times than 2 h, or TCP_USER_TIMEOUT, and bound their pools.",
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
        meaning: "This side has closed (close(), or shutdown() of writing), and the peer has not acknowledged that yet. \
                  Linux is in this state as soon as the FIN is queued, while data before it still wait to be sent.",
        moved_on_by: "The peer: the ACK of our FIN makes it FIN_WAIT2; its FIN without that ACK, CLOSING; its RST ends it. So \
                      does time.",
        lasts: "One round trip, and as long as queued data take. If the peer is silent, some 100 s when the program has closed \
                the socket, 924.6 s at least when it still holds it.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
        ],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Peers that vanished without a word, or that do not read: their window is shut, and data before our FIN can't \
               leave. Each may hold some 64 KiB of memory that can't be swapped.",
        what_to_do: "Look at Send-Q: ss -tan state fin-wait-1. A busy web server may lower tcp_orphan_retries. \
                     Keep tcp_max_orphans well above what is normal.",
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
        meaning: "This side has closed and the peer has acknowledged that; the peer has not closed yet. Two kinds look \
                  alike: sockets that a program still holds, after shutdown() of writing; and orphans, after close(), \
                  which Linux replaces by time-wait mini sockets (sockstat counts them in tw).",
        moved_on_by: "The peer: its FIN makes it TIME_WAIT, its RST ends it. Data for an orphan are answered with RST and end \
                      it too: nobody is left to read them.",
        lasts: "Held by a program: without limit. An orphan: tcp_fin_timeout, 60 s.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_fin_timeout",
                default: "60 s",
                does: "for orphans in this state and nothing else: it does not shorten TIME_WAIT. Never less than 3.5 \
                       retransmission timeouts. Above 60 it works otherwise than one thinks: T gives 2 x (T - 60) s, so \
                       65 gives 10 s (tcp_keepalive_timer; seen on 6.18)",
            },
            Setting {
                name: "TCP_LINGER2",
                default: "off",
                does: "the same for one socket, 120 s at most; a negative value resets it at once",
            },
            Setting {
                name: "net.ipv4.tcp_max_tw_buckets",
                default: "by memory",
                does: "orphans count among the time-wait sockets; above the limit they are closed at once",
            },
            KEEPALIVE,
        ],
        kernel: &[
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
            "net/ipv4/tcp_minisocks.c: tcp_timewait_state_process",
            "net/ipv4/tcp_timer.c: tcp_keepalive_timer",
        ],
        rfc: "3.3.2, 3.6, 3.6.1, 3.10.7.4",
        many: "Peers that do not close: over there they are in CLOSE_WAIT. Orphans cost little and go by themselves; those \
               that a program holds stay.",
        what_to_do: "ss -tanp state fin-wait-2: those with a process are for that program to close, with a timeout of its \
                     own after shutdown(). For orphans, mend the peer; leave tcp_fin_timeout alone unless they are very \
                     many.",
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
        meaning: "The peer has closed; the program on this side has not yet. Reads give what is left, then the end; writes \
                  still work.",
        moved_on_by: "The program on this side, and nobody else: close() or shutdown() of writing makes it LAST_ACK. The \
                      peer's RST ends it, which often answers a write.",
        lasts: "Without limit, for as long as the program holds it and no RST comes: the kernel has no timeout for it, and no \
                sysctl makes one.",
        governed_by: &[
            KEEPALIVE,
            Setting {
                name: "net.ipv4.tcp_retries2",
                default: "15",
                does: "ends it if the program writes and the peer is silent, after 924.6 s at least",
            },
        ],
        kernel: &["net/ipv4/tcp_input.c: tcp_fin", "net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "A leak: the program forgets to close what its peers have closed, and will run out of descriptors. Or it is \
               stuck, or too slow. Those without a process were never accepted: the client left while it waited in the \
               listener's queue.",
        what_to_do: "tcpstate count --state close-wait --by process, or ss -tanp state close-wait, names the program. Mend \
                     it: close on every path, errors too. A restart frees them, a sysctl does not. Without a process: see \
                     why accept() is slow.",
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
        meaning: "Both sides have closed at once: the FINs crossed, and the peer has not acknowledged ours yet.",
        moved_on_by: "The peer: its ACK makes it TIME_WAIT (a mini socket takes its place, so what is reported is CLOSING -> \
                      CLOSE); its RST ends it. So does time.",
        lasts: "One round trip. If the peer is silent, as long as in FIN_WAIT1: some 100 s when the program has closed the \
                socket.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_fin",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
        ],
        rfc: "3.3.2, 3.6, 3.10.7.4",
        many: "Rare at any time. Many at once: the path lost the ACKs, or peers vanished just when both sides closed, as \
               after a restart of a load balancer.",
        what_to_do: "Look for loss towards those peers (ss -tni state closing shows retransmissions). They go by themselves.",
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
        meaning: "The peer closed first, now this side has closed too; the ACK of our FIN is awaited.",
        moved_on_by: "The peer: its ACK ends it, and so does its RST. So does time. No TIME_WAIT follows on this side: that is \
                      with the one who closed first.",
        lasts: "One round trip, and as long as queued data take. If the peer is silent, some 100 s when the program has closed \
                the socket, 924.6 s at least when it still holds it.",
        governed_by: &[ORPHAN_RETRIES, RETRIES2, MAX_ORPHANS, USER_TIMEOUT],
        kernel: &[
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_orphan_retries",
        ],
        rfc: "3.3.2, 3.6, 3.10.4, 3.10.7.4",
        many: "Peers that vanished after their FIN: mobile clients, firewalls that forget a connection at the first FIN, \
               peers whose orphans in FIN_WAIT2 timed out. Or data before our FIN that can't leave.",
        what_to_do: "Look at Send-Q and retransmissions: ss -tni state last-ack. If they are many and lasting, lower \
                     tcp_orphan_retries.",
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
        meaning: "The connection is over, and this side was the first to close, or both were. A mini socket keeps its \
                  addresses and ports for a while, so that late segments meet no new connection, and so that the last ACK \
                  can be sent again. No program has it.",
        moved_on_by: "Time. A SYN of a new connection from the same peer and port takes its place at once, if its sequence \
                      number or timestamp is later: that is the server's case. connect() may do so by tcp_tw_reuse: that is \
                      the client's. RST ends it, unless tcp_rfc1337 is set.",
        lasts: "60 s, a constant of the kernel (TCP_TIMEWAIT_LEN); late segments start them anew. No sysctl changes that, \
                tcp_fin_timeout neither.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_tw_reuse",
                default: "2",
                does: "whether connect() may take over addresses and ports in TIME_WAIT, after 1 s and with timestamps: 0 no, \
                       1 yes, 2 over loopback only. Of no effect for what comes in",
            },
            Setting {
                name: "net.ipv4.tcp_tw_reuse_delay",
                default: "1000 ms, since 6.14",
                does: "that one second",
            },
            Setting {
                name: "net.ipv4.tcp_max_tw_buckets",
                default: "by memory",
                does: "above it sockets skip TIME_WAIT, and TcpExt TCPTimeWaitOverflow counts them; a guard against attacks, \
                       to be raised rather than lowered",
            },
            Setting {
                name: "net.ipv4.tcp_rfc1337",
                default: "0",
                does: "1 keeps RST from ending it",
            },
            Setting {
                name: "net.ipv4.tcp_tw_recycle",
                default: "gone since 4.12",
                does: "nothing; it broke clients behind NAT. Guides that have it are stale",
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
        many: "On a server's own port: nothing to mend, whatever the number. They use up no port, and a new SYN is let in. On \
               a client of one address and port: each holds a local port for 60 s, so the 28,232 ports of 32768-60999 give \
               out at 470 connections a second.",
        what_to_do: "Nothing, if it is a server. A client should keep connections open (pool, keep-alive) or let the other \
                     side close first; then more source addresses or a wider ip_local_port_range; then tcp_tw_reuse=1. \
                     tcpstate count --state time-wait --by remote shows towards whom.",
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
        meaning: "No connection: a fresh socket, or one whose connection is over. The kernel has it in no table of \
                  connections, so no tool lists it there and tcpstate does not count it. In transitions it is where they \
                  begin and end; X -> CLOSE is also what is reported when a mini socket in TIME_WAIT or FIN_WAIT2 takes a \
                  socket's place.",
        moved_on_by: "The program: connect() or listen(). It may do that again after a connection is over.",
        lasts: "As long as the program keeps the socket open.",
        governed_by: &[Setting {
            name: "RLIMIT_NOFILE (ulimit -n)",
            default: "set by systemd or the shell",
            does: "the bound of a process's descriptors, sockets among them",
        }],
        kernel: &[
            "net/core/sock.c: sock_init_data_uid",
            "net/ipv4/tcp.c: tcp_set_state",
            "net/ipv4/tcp.c: tcp_done",
        ],
        rfc: "3.3.2, 3.10.7.1",
        many: "Sockets that a program opened and did not use, or did not close after their connection was over. A sign of \
               them is TCP alloc in /proc/net/sockstat, the host's sockets of any state, well above inuse.",
        what_to_do: "Look at the descriptors of the suspect: ls -l /proc/PID/fd lists sockets that ss does not know.",
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
        meaning: "The kernel's own state for request sockets, the mini sockets of half-open connections. Every \
                  interface shows it as SYN_RECV; tcpstate counts it there.",
        moved_on_by: "It never changes its state: the peer's ACK replaces it by a child (LISTEN -> SYN_RECV), RST or time \
                      removes it.",
        lasts: "As in SYN_RECV: 63 s without an ACK, at the defaults.",
        governed_by: &[
            Setting {
                name: "net.ipv4.tcp_synack_retries",
                default: "5",
                does: "how often SYN+ACK is sent again, after 1, 2, 4, ... s",
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
        what_to_do: "See SYN_RECV: tcpstate explain SYN_RECV.",
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
        meaning: "No state of a socket, but a question: since 6.8 sock_diag can be asked for sockets in CLOSE that bind() has \
                  given a port. The answer calls them CLOSE.",
        moved_on_by: "The program: connect() or listen().",
        lasts: "As long as the program keeps the socket open.",
        governed_by: &[Setting {
            name: "net.ipv4.ip_local_port_range",
            default: "32768 60999",
            does: "where bind() to port 0 looks for a port: such a socket takes one away from others",
        }],
        kernel: &[
            "include/net/tcp_states.h: TCP_BOUND_INACTIVE",
            "net/ipv4/inet_diag.c: inet_diag_dump_icsk",
        ],
        rfc: "3.3.2, a case of CLOSED",
        many: "Programs that bind and then wait: each holds a port, though nothing else shows it.",
        what_to_do: "ss -tB lists them (iproute2 6.8 or newer, kernel 6.8 or newer).",
    },
];
