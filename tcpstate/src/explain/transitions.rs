//! The texts of transitions, pair by pair, and of some pairs that people look for in vain. The pairs are those of
//! `tcpstate_common::transitions`. The call sites are those of Linux 6.12. Tests hold both against the list.
//!
//! Long because it is a table of texts: one entry for each pair of states.

use tcpstate_common::State::{
    self, BoundInactive, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck,
    Listen, NewSynRecv, SynRecv, SynSent, TimeWait,
};

use super::TransitionText;

/// What ends a socket in any state that has a peer; said once, since it is the same for all.
macro_rules! aborts {
    ($also:literal) => {
        concat!(
            $also,
            " RST from the peer; close() with SO_LINGER 0 or with unread data; connect() to AF_UNSPEC; ss -K; a timeout; \
             too many orphans or too little memory."
        )
    };
}

/// Every pair that can be shown, from birth to end.
pub(super) const TRANSITIONS: [TransitionText; 31] = [
    TransitionText {
        from: Close,
        to: Listen,
        meaning: "listen(): a socket starts to listen. It is reported before the port is claimed, so that a listen() that fails \
                  with EADDRINUSE shows as CLOSE -> LISTEN and LISTEN -> CLOSE.",
        caused_by: "The program: listen().",
        kernel: &["net/ipv4/inet_connection_sock.c: inet_csk_listen_start"],
        rfc: "3.3.2, 3.10.1 (passive OPEN)",
    },
    TransitionText {
        from: Close,
        to: SynSent,
        meaning: "connect(): the SYN is about to leave. It is reported before a local port is chosen, so the port is 0 unless \
                  bind() chose it. A host without a route fails earlier, without a transition.",
        caused_by: "The program: connect(), also with Fast Open or TCP_REPAIR.",
        kernel: &["net/ipv4/tcp_ipv4.c: tcp_v4_connect", "net/ipv6/tcp_ipv6.c: tcp_v6_connect"],
        rfc: "3.3.2, 3.10.1 (active OPEN)",
    },
    TransitionText {
        from: Close,
        to: SynRecv,
        meaning: "The birth of a child whose listener was closed in that very moment: the child is a copy, of a socket in CLOSE \
                  by then. Very rare; otherwise the same as LISTEN -> SYN_RECV.",
        caused_by: "The peer's ACK, and the program that closes its listener.",
        kernel: &["net/ipv4/inet_connection_sock.c: inet_csk_clone_lock"],
        rfc: "none: an artefact of how Linux makes sockets",
    },
    TransitionText {
        from: Close,
        to: Close,
        meaning: "Reported, but nothing moves: a socket that is closed already is closed once more.",
        caused_by: "ss -K of a listener, which closes it in two steps; MPTCP, when a subflow fails.",
        kernel: &["net/ipv4/tcp.c: tcp_abort", "net/ipv4/tcp.c: tcp_done"],
        rfc: "3.10.7.1",
    },
    TransitionText {
        from: Listen,
        to: SynRecv,
        meaning: "The birth of a child: a copy of the listener is made for a connection whose handshake is done, and the copy \
                  leaves the state that it was copied in. The listener itself stays in LISTEN. The half-open time before it \
                  was a request socket's, shown as SYN_RECV too, so a passive open counts there twice. The child goes on to \
                  ESTABLISHED at once. By this pair connections that came in are counted.",
        caused_by: "The peer's last ACK of the handshake; with Fast Open its SYN.",
        kernel: &[
            "net/ipv4/tcp_minisocks.c: tcp_check_req",
            "net/ipv4/inet_connection_sock.c: inet_csk_clone_lock",
            "net/ipv4/syncookies.c: cookie_v4_check",
            "net/ipv4/tcp_fastopen.c: tcp_fastopen_create_child",
        ],
        rfc: "3.5, 3.10.7.2 (where the listener itself moves)",
    },
    TransitionText {
        from: Listen,
        to: Close,
        meaning: "A listener ends, or listen() failed because the port was taken. Connections that nobody has accepted yet end \
                  with it, each with its own X -> CLOSE; half-open ones stay until their timer finds out.",
        caused_by: "The program: close(), shutdown() of reading; ss -K.",
        kernel: &[
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp.c: tcp_disconnect",
            "net/ipv4/inet_connection_sock.c: inet_csk_listen_start",
            "net/ipv4/inet_connection_sock.c: inet_csk_listen_stop",
        ],
        rfc: "3.3.2, 3.10.4",
    },
    TransitionText {
        from: SynSent,
        to: Established,
        meaning: "connect() succeeds: the peer has answered. By this pair connections that went out are counted.",
        caused_by: "The peer's SYN+ACK; connect() at once, under TCP_REPAIR.",
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_synsent_state_process",
            "net/ipv4/tcp_input.c: tcp_finish_connect",
        ],
        rfc: "3.5, 3.10.7.3",
    },
    TransitionText {
        from: SynSent,
        to: SynRecv,
        meaning: "Simultaneous open: both sides connect to each other, and their SYNs cross. A program that connects to itself \
                  (the local port happens to be the one it connects to) does the same.",
        caused_by: "The peer's SYN without an ACK.",
        kernel: &["net/ipv4/tcp_input.c: tcp_rcv_synsent_state_process"],
        rfc: "3.5, 3.10.7.3",
    },
    TransitionText {
        from: SynSent,
        to: Close,
        meaning: "connect() fails or is given up: refused, unreachable, timed out, or no local port left (EADDRNOTAVAIL).",
        caused_by: "The peer's RST; an ICMP error; a timeout; close() or shutdown(); a connect() that finds no port.",
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_reset",
            "net/ipv4/tcp_ipv4.c: tcp_v4_err",
            "net/ipv4/tcp_timer.c: tcp_write_timeout",
            "net/ipv4/tcp.c: tcp_close_state",
            "net/ipv4/tcp_ipv4.c: tcp_v4_connect",
        ],
        rfc: "3.5.3, 3.8.3, 3.10.4, 3.10.7.3",
    },
    TransitionText {
        from: SynRecv,
        to: Established,
        meaning: "The handshake is done. For a connection that came in it follows LISTEN -> SYN_RECV at once, by the same ACK; \
                  accept() may fetch it now.",
        caused_by: "The peer's ACK.",
        kernel: &["net/ipv4/tcp_input.c: tcp_rcv_state_process"],
        rfc: "3.5, 3.10.7.4",
    },
    TransitionText {
        from: SynRecv,
        to: FinWait1,
        meaning: "The program closes before the handshake is done: after Fast Open, or in a simultaneous open.",
        caused_by: "The program: close(); on kernels before 6.9 and its backports shutdown() of writing, too.",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.3.2, 3.10.4",
    },
    TransitionText {
        from: SynRecv,
        to: CloseWait,
        meaning: "The kernel has code for it, for a FIN in the SYN of a Fast Open, but drops a SYN with a FIN before it gets \
                  there. If you see one, tell us.",
        caused_by: "Nothing that is known.",
        kernel: &["net/ipv4/tcp_input.c: tcp_fin", "net/ipv4/tcp_fastopen.c: tcp_fastopen_add_skb"],
        rfc: "3.10.7.4",
    },
    TransitionText {
        from: SynRecv,
        to: Close,
        meaning: "A full socket in SYN_RECV ends before it was established: a child that could not be finished, or an open by \
                  Fast Open or from both sides that failed. Half-open connections, which are mini sockets, end without a \
                  transition.",
        caused_by: aborts!(
            "A lack of memory or of a route when the child is made; another ACK that was faster."
        ),
        kernel: &[
            "net/ipv4/tcp_ipv4.c: tcp_v4_syn_recv_sock",
            "net/ipv4/inet_hashtables.c: inet_ehash_nolisten",
            "net/ipv4/tcp_input.c: tcp_reset",
            "net/ipv4/tcp_timer.c: tcp_fastopen_synack_timer",
        ],
        rfc: "3.5.3, 3.8.3, 3.10.7.4",
    },
    TransitionText {
        from: Established,
        to: FinWait1,
        meaning: "This side closes first, and will have the TIME_WAIT.",
        caused_by: "The program: close() or shutdown() of writing; its exit.",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.6 (case 1), 3.10.4",
    },
    TransitionText {
        from: Established,
        to: CloseWait,
        meaning: "The peer closes first. The program on this side reads the end of the stream and should close, too.",
        caused_by: "The peer's FIN.",
        kernel: &["net/ipv4/tcp_input.c: tcp_fin"],
        rfc: "3.6 (case 2), 3.10.7.4",
    },
    TransitionText {
        from: Established,
        to: Close,
        meaning: "A connection is cut off without a FIN: reset by either side, or given up. No TIME_WAIT follows.",
        caused_by: aborts!("A listener that closes with connections not accepted."),
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_reset",
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp.c: tcp_disconnect",
            "net/ipv4/tcp_timer.c: tcp_write_err",
            "net/ipv4/tcp.c: tcp_abort",
        ],
        rfc: "3.5.3, 3.8.3, 3.10.5, 3.10.7.4",
    },
    TransitionText {
        from: FinWait1,
        to: FinWait1,
        meaning: "Reported, but nothing moves: close() after shutdown() of writing, before the peer's ACK.",
        caused_by: "The program: close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: FinWait1,
        to: FinWait2,
        meaning: "The peer has acknowledged our FIN. If its own FIN came in the same segment, or if the program has closed the \
                  socket, FIN_WAIT2 -> CLOSE follows at once.",
        caused_by: "The peer's ACK.",
        kernel: &["net/ipv4/tcp_input.c: tcp_rcv_state_process"],
        rfc: "3.6 (case 1), 3.10.7.4",
    },
    TransitionText {
        from: FinWait1,
        to: Closing,
        meaning: "Simultaneous close: the FINs of both sides crossed.",
        caused_by: "The peer's FIN, without the ACK of ours.",
        kernel: &["net/ipv4/tcp_input.c: tcp_fin"],
        rfc: "3.6 (case 3), 3.10.7.4",
    },
    TransitionText {
        from: FinWait1,
        to: Close,
        meaning: "Closed here, and given up before the peer acknowledged that.",
        caused_by: aborts!("Data from the peer after close()."),
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_reset",
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_timer.c: tcp_write_err",
            "net/ipv4/tcp.c: __tcp_close",
        ],
        rfc: "3.5.3, 3.8.3, 3.10.5, 3.10.7.4",
    },
    TransitionText {
        from: FinWait2,
        to: FinWait2,
        meaning: "Reported, but nothing moves: close() after shutdown() of writing. FIN_WAIT2 -> CLOSE follows as a rule, when a \
                  mini socket in FIN_WAIT2 takes the orphan's place.",
        caused_by: "The program: close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: FinWait2,
        to: Close,
        meaning: "The full socket ends. Mostly a mini socket takes its place: in TIME_WAIT, if the peer's FIN has come; in \
                  FIN_WAIT2, if the program has closed and the FIN is still awaited. By itself the pair does not tell which, \
                  nor whether it was a reset: the entries of time-wait sockets do.",
        caused_by: aborts!("The peer's FIN; close()."),
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_fin",
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
            "net/ipv4/tcp_input.c: tcp_reset",
        ],
        rfc: "3.6 (case 1), 3.6.1, 3.10.7.4",
    },
    TransitionText {
        from: FinWait2,
        to: TimeWait,
        meaning: "An orphan's peer closes: the mini socket in FIN_WAIT2 stays, and is in TIME_WAIT from now on, for 60 s. A full \
                  socket, which a program holds, makes this move as FIN_WAIT2 -> CLOSE and a new mini socket.",
        caused_by: "The peer's FIN.",
        kernel: &[
            "net/ipv4/tcp_minisocks.c: tcp_timewait_state_process",
            "net/ipv4/tcp_input.c: tcp_fin",
        ],
        rfc: "3.6 (case 1), 3.10.7.4",
    },
    TransitionText {
        from: Closing,
        to: Closing,
        meaning: "Reported, but nothing moves: close() after shutdown() of writing.",
        caused_by: "The program: close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: Closing,
        to: Close,
        meaning: "The full socket ends. If it was the peer's ACK that came, a mini socket in TIME_WAIT takes its place.",
        caused_by: aborts!("The peer's ACK of our FIN."),
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
            "net/ipv4/tcp_input.c: tcp_reset",
        ],
        rfc: "3.6 (case 3), 3.10.7.4",
    },
    TransitionText {
        from: Closing,
        to: TimeWait,
        meaning: "The end of a simultaneous close: a mini socket in TIME_WAIT takes the socket's place, and what is reported is \
                  CLOSING -> CLOSE.",
        caused_by: "The peer's ACK of our FIN.",
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
        ],
        rfc: "3.6 (case 3), 3.10.7.4",
    },
    TransitionText {
        from: CloseWait,
        to: LastAck,
        meaning: "The program closes after the peer has. Many ESTABLISHED -> CLOSE_WAIT without as many of these are a leak.",
        caused_by: "The program: close() or shutdown() of writing; its exit.",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.6 (case 2), 3.10.4",
    },
    TransitionText {
        from: CloseWait,
        to: Close,
        meaning: "Cut off after the peer has closed: often a program that writes to a peer that is gone, or one that closes \
                  without having read all.",
        caused_by: aborts!("A listener that closes with connections not accepted."),
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_reset",
            "net/ipv4/tcp.c: __tcp_close",
            "net/ipv4/tcp.c: tcp_disconnect",
            "net/ipv4/tcp_timer.c: tcp_write_err",
        ],
        rfc: "3.5.3, 3.8.3, 3.10.5, 3.10.7.4",
    },
    TransitionText {
        from: LastAck,
        to: LastAck,
        meaning: "Reported, but nothing moves: close() after shutdown() of writing.",
        caused_by: "The program: close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: LastAck,
        to: Close,
        meaning: "The usual end on the side that closes last; no TIME_WAIT here.",
        caused_by: aborts!("The peer's ACK of our FIN."),
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_input.c: tcp_reset",
            "net/ipv4/tcp_timer.c: tcp_write_err",
        ],
        rfc: "3.6 (case 2), 3.10.7.4",
    },
    TransitionText {
        from: TimeWait,
        to: Close,
        meaning: "The mini socket ends: its 60 s are over, or it was reused or killed before.",
        caused_by: "Time; a new SYN, or connect() by tcp_tw_reuse; RST; ss -K; the end of the namespace.",
        kernel: &[
            "net/ipv4/inet_timewait_sock.c: tw_timer_handler",
            "net/ipv4/inet_timewait_sock.c: inet_twsk_kill",
            "net/ipv4/inet_timewait_sock.c: inet_twsk_deschedule_put",
        ],
        rfc: "3.6.1, 3.10.8",
    },
];

/// Why the kernel never makes this move.
pub(super) const fn why_never(from: State, to: State) -> &'static str {
    match (from, to) {
        (NewSynRecv, _) | (_, NewSynRecv) => {
            "NEW_SYN_RECV is the state of request sockets, which never change it: an ACK replaces one by a child, reported as \
             LISTEN -> SYN_RECV; RST or time removes it."
        }
        (BoundInactive, _) | (_, BoundInactive) => {
            "BOUND_INACTIVE is a question to sock_diag, not a state of a socket: such a socket is in CLOSE."
        }
        (TimeWait, SynSent | SynRecv | Established | Listen) => {
            "A connection that takes over the addresses and ports of one in TIME_WAIT is a new one: the mini socket ends \
             (TIME_WAIT -> CLOSE, exit \"reused\"), and a new socket or request is born."
        }
        (TimeWait, _) => "A time-wait mini socket only ends.",
        (LastAck | CloseWait | SynRecv | SynSent | Listen, TimeWait) => {
            "TIME_WAIT is entered by the side that closes first, or by both: from FIN_WAIT2, or from CLOSING."
        }
        (Established, TimeWait) => {
            "It takes steps: ESTABLISHED -> FIN_WAIT1 -> FIN_WAIT2 -> CLOSE, where a mini socket in TIME_WAIT takes the \
             socket's place."
        }
        (FinWait1, TimeWait) => {
            "RFC 9293 lets a segment with both ACK and FIN do so; Linux takes it apart: FIN_WAIT1 -> FIN_WAIT2 and FIN_WAIT2 -> \
             CLOSE at once, and a mini socket in TIME_WAIT."
        }
        (_, TimeWait) => {
            "No full socket is ever in TIME_WAIT, so no transition leads there: a mini socket is born in it, when a socket goes \
             FIN_WAIT2 -> CLOSE or CLOSING -> CLOSE."
        }
        (Listen, SynSent) => {
            "RFC 9293 lets a listener send; on Linux connect() on a listening socket fails with EISCONN."
        }
        (Listen, Established) => {
            "A listener never becomes a connection: a child is born (LISTEN -> SYN_RECV) and established (SYN_RECV -> \
             ESTABLISHED). Only the masters of MPTCP do so, which are no TCP sockets and are not counted."
        }
        (SynRecv, Listen) => {
            "RFC 9293 takes a half-open connection back to LISTEN on RST; on Linux the listener never left, and what ends is the \
             request socket or the child."
        }
        (Listen, Listen) | (SynSent, SynSent) => {
            "connect() or listen() on such a socket fails, or changes its backlog; the state is not set again."
        }
        (_, Listen) => "Only a socket in CLOSE can start to listen.",
        (SynSent, FinWait1) => {
            "close() before an answer simply ends the socket (SYN_SENT -> CLOSE): there is no connection to close in order."
        }
        (Established, LastAck | Closing | FinWait2) => {
            "It takes two steps, one for each FIN or ACK: by way of CLOSE_WAIT or FIN_WAIT1."
        }
        (Close, _) => {
            "A socket leaves CLOSE by connect() or listen() only, and a child by its birth. TCP_REPAIR restores a connection by \
             way of SYN_SENT."
        }
        (FinWait1 | FinWait2 | Closing | LastAck, Established | CloseWait) => {
            "Once this side has sent its FIN there is no way back."
        }
        _ => "No place in the kernel sets the second state on a socket in the first one.",
    }
}
