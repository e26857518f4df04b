//! The texts of the transitions, and the reason why a pair of states is not a transition. The file
//! has a text for each transition in `tcpstate_common::transitions`. The texts name kernel
//! functions of Linux 6.12. Tests compare the transitions and the kernel functions with the lists
//! in `tests.rs`.
//!
//! The file is long because it is a table of texts: one entry for each pair of states.

use tcpstate_common::State::{
    self, BoundInactive, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck,
    Listen, NewSynRecv, SynRecv, SynSent, TimeWait,
};

use super::TransitionText;

/// Appends the causes of a transition to CLOSE that apply in every state in which the socket has a
/// peer.
macro_rules! aborts {
    ($also:literal) => {
        concat!(
            $also,
            " Other causes: an RST of the peer; close() with SO_LINGER 0 or with unread data; \
             connect() with AF_UNSPEC; ss -K; a timeout; too many orphans; too little memory."
        )
    };
}

/// The texts of all transitions, in the order in which a connection makes the transitions.
pub(super) const TRANSITIONS: [TransitionText; 31] = [
    TransitionText {
        from: Close,
        to: Listen,
        meaning: "The program calls listen(), and the socket starts to listen. The kernel reports \
                  the transition before it claims the port. A listen() that fails with EADDRINUSE \
                  therefore shows as CLOSE -> LISTEN and LISTEN -> CLOSE.",
        caused_by: "The program calls listen().",
        kernel: &["net/ipv4/inet_connection_sock.c: inet_csk_listen_start"],
        rfc: "3.3.2, 3.10.1 (passive OPEN)",
    },
    TransitionText {
        from: Close,
        to: SynSent,
        meaning: "The program calls connect(), and the kernel is about to send the SYN. The kernel \
                  reports the transition before it chooses a local port, so the port is 0 unless \
                  bind() has chosen a port. If there is no route to the host, connect() fails \
                  earlier and without a transition.",
        caused_by: "The program calls connect(). Connections with Fast Open or TCP_REPAIR make \
                    this transition too.",
        kernel: &["net/ipv4/tcp_ipv4.c: tcp_v4_connect", "net/ipv6/tcp_ipv6.c: tcp_v6_connect"],
        rfc: "3.3.2, 3.10.1 (active OPEN)",
    },
    TransitionText {
        from: Close,
        to: SynRecv,
        meaning: "A child socket is created while its listener is being closed. The child is a \
                  copy of the listener, which is already in CLOSE. The transition is very rare. \
                  Apart from its first state it is equal to LISTEN -> SYN_RECV.",
        caused_by: "The peer's ACK arrives while the program closes the listener.",
        kernel: &["net/ipv4/inet_connection_sock.c: inet_csk_clone_lock"],
        rfc: "none: the transition exists only because of how Linux creates sockets",
    },
    TransitionText {
        from: Close,
        to: Close,
        meaning: "The kernel reports a transition, but the state does not change. The kernel \
                  closes a socket that is already closed.",
        caused_by: "ss -K closes a listener in two steps, or a subflow of MPTCP fails.",
        kernel: &["net/ipv4/tcp.c: tcp_abort", "net/ipv4/tcp.c: tcp_done"],
        rfc: "3.10.7.1",
    },
    TransitionText {
        from: Listen,
        to: SynRecv,
        meaning: "A child socket is created. The handshake of a connection is complete, and the \
                  kernel makes a copy of the listener for the connection. The copy is the child \
                  socket, which starts in LISTEN and moves to SYN_RECV. The listener itself stays \
                  in LISTEN. Before the handshake was complete, a request socket stood for the \
                  half-open connection and also showed as SYN_RECV. So an accepted connection \
                  enters SYN_RECV twice. The child socket moves on to ESTABLISHED at once. The \
                  number of these transitions is the number of incoming connections.",
        caused_by: "The last ACK of the handshake arrives. With Fast Open, the peer's SYN causes \
                    the transition.",
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
        meaning: "The program closes a listener, or listen() failed because the port was in use. \
                  Connections in the accept queue end too, and the kernel reports X -> CLOSE for \
                  each of them. Half-open connections stay until their timers expire.",
        caused_by: "The program calls close(), or shutdown() for reading. ss -K causes the \
                    transition too.",
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
        meaning: "connect() succeeds: the peer has answered. The number of these transitions is \
                  the number of outgoing connections.",
        caused_by: "The peer's SYN+ACK arrives. With TCP_REPAIR, connect() itself causes the \
                    transition.",
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_synsent_state_process",
            "net/ipv4/tcp_input.c: tcp_finish_connect",
        ],
        rfc: "3.5, 3.10.7.3",
    },
    TransitionText {
        from: SynSent,
        to: SynRecv,
        meaning: "Simultaneous open: both sides connect to each other and their SYNs cross. A \
                  socket that connects to its own address and port makes this transition too.",
        caused_by: "The peer's SYN without an ACK.",
        kernel: &["net/ipv4/tcp_input.c: tcp_rcv_synsent_state_process"],
        rfc: "3.5, 3.10.7.3",
    },
    TransitionText {
        from: SynSent,
        to: Close,
        meaning: "connect() fails or is cancelled. The peer refused, is unreachable or did not \
                  answer, or no local port was free (EADDRNOTAVAIL).",
        caused_by: "The peer's RST; an ICMP error; a timeout; close() or shutdown(); a connect() \
                    that finds no local port.",
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
        meaning: "The handshake is complete. The ACK that completes the handshake of an incoming \
                  connection causes LISTEN -> SYN_RECV and then, at once, this transition. After \
                  the transition accept() can return the connection.",
        caused_by: "The peer's ACK.",
        kernel: &["net/ipv4/tcp_input.c: tcp_rcv_state_process"],
        rfc: "3.5, 3.10.7.4",
    },
    TransitionText {
        from: SynRecv,
        to: FinWait1,
        meaning: "The program closes the socket before the handshake is complete, which is \
                  possible with Fast Open and in a simultaneous open.",
        caused_by: "The program calls close(). In kernels before 6.9 without the backported \
                    change, shutdown() for writing causes the transition too.",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.3.2, 3.10.4",
    },
    TransitionText {
        from: SynRecv,
        to: CloseWait,
        meaning: "The kernel has code for this transition, which handles a FIN in the SYN of a \
                  Fast Open. But the kernel drops a SYN with a FIN before this code runs. If you \
                  see this transition, please report it.",
        caused_by: "No cause is known.",
        kernel: &["net/ipv4/tcp_input.c: tcp_fin", "net/ipv4/tcp_fastopen.c: tcp_fastopen_add_skb"],
        rfc: "3.10.7.4",
    },
    TransitionText {
        from: SynRecv,
        to: Close,
        meaning: "A full socket in SYN_RECV ends before it is established. Either the kernel could \
                  not complete a child socket, or a Fast Open or a simultaneous open failed. \
                  Half-open connections are mini sockets and end without a transition.",
        caused_by: aborts!(
            "No memory or no route for the child socket; an earlier ACK that has already created \
             the child socket."
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
        meaning: "This side closes first, so TIME_WAIT will be on this side.",
        caused_by: "The program calls close(), or shutdown() for writing, or exits.",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.6 (case 1), 3.10.4",
    },
    TransitionText {
        from: Established,
        to: CloseWait,
        meaning: "The peer closes first. The program on this side reads the end of the stream and \
                  should close too.",
        caused_by: "The peer's FIN.",
        kernel: &["net/ipv4/tcp_input.c: tcp_fin"],
        rfc: "3.6 (case 2), 3.10.7.4",
    },
    TransitionText {
        from: Established,
        to: Close,
        meaning: "The connection ends without a FIN: one side resets the connection or gives up \
                  after a timeout. No TIME_WAIT follows.",
        caused_by: aborts!("A listener that closes while the connection is in its accept queue."),
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
        meaning: "The kernel reports a transition, but the state does not change. The program \
                  calls close() after shutdown() for writing, before the peer's ACK arrives.",
        caused_by: "The program calls close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: FinWait1,
        to: FinWait2,
        meaning: "The peer has acknowledged the FIN of this side. FIN_WAIT2 -> CLOSE follows at \
                  once in two cases: the segment also carried the peer's FIN, or the program has \
                  closed the socket.",
        caused_by: "The peer's ACK.",
        kernel: &["net/ipv4/tcp_input.c: tcp_rcv_state_process"],
        rfc: "3.6 (case 1), 3.10.7.4",
    },
    TransitionText {
        from: FinWait1,
        to: Closing,
        meaning: "Simultaneous close: the FINs of both sides crossed.",
        caused_by: "The peer's FIN, without an ACK of this side's FIN.",
        kernel: &["net/ipv4/tcp_input.c: tcp_fin"],
        rfc: "3.6 (case 3), 3.10.7.4",
    },
    TransitionText {
        from: FinWait1,
        to: Close,
        meaning: "This side closed, and the connection ends before the peer acknowledges the FIN.",
        caused_by: aborts!("Data that the peer sends after close() on this side."),
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
        meaning: "The kernel reports a transition, but the state does not change. The program \
                  calls close() after shutdown() for writing. Usually FIN_WAIT2 -> CLOSE follows, \
                  because a mini socket in FIN_WAIT2 replaces the orphan.",
        caused_by: "The program calls close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: FinWait2,
        to: Close,
        meaning: "The full socket ends. In most cases a mini socket replaces the full socket. The \
                  mini socket is in TIME_WAIT if the peer's FIN has arrived. The mini socket is in \
                  FIN_WAIT2 if the program has closed the socket and the peer's FIN has not \
                  arrived yet. A reset also causes this transition, but without a mini socket. \
                  Only the events of time-wait sockets show whether a mini socket replaced the \
                  full socket.",
        caused_by: aborts!("The peer's FIN; close() by the program."),
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
        meaning: "The peer of an orphan closes. The mini socket moves from FIN_WAIT2 to TIME_WAIT, \
                  where it stays for 60 s. If a program holds the socket, the kernel reports \
                  FIN_WAIT2 -> CLOSE instead and creates a new mini socket.",
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
        meaning: "The kernel reports a transition, but the state does not change. The program \
                  calls close() after shutdown() for writing.",
        caused_by: "The program calls close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: Closing,
        to: Close,
        meaning: "The full socket ends. If the cause is the peer's ACK, a mini socket in TIME_WAIT \
                  replaces the full socket.",
        caused_by: aborts!("The peer's ACK of this side's FIN."),
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
        meaning: "A simultaneous close ends. A mini socket in TIME_WAIT replaces the full socket, \
                  and the kernel reports CLOSING -> CLOSE.",
        caused_by: "The peer's ACK of this side's FIN.",
        kernel: &[
            "net/ipv4/tcp_input.c: tcp_rcv_state_process",
            "net/ipv4/tcp_minisocks.c: tcp_time_wait",
        ],
        rfc: "3.6 (case 3), 3.10.7.4",
    },
    TransitionText {
        from: CloseWait,
        to: LastAck,
        meaning: "The program closes after the peer has closed. If ESTABLISHED -> CLOSE_WAIT is \
                  much more frequent than CLOSE_WAIT -> LAST_ACK, a program leaks connections.",
        caused_by: "The program calls close(), or shutdown() for writing, or exits.",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.6 (case 2), 3.10.4",
    },
    TransitionText {
        from: CloseWait,
        to: Close,
        meaning: "The peer has closed, and the connection ends without a FIN of this side. Often \
                  the program writes to a peer that is gone, or closes with unread data.",
        caused_by: aborts!("A listener that closes while the connection is in its accept queue."),
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
        meaning: "The kernel reports a transition, but the state does not change. The program \
                  calls close() after shutdown() for writing.",
        caused_by: "The program calls close().",
        kernel: &["net/ipv4/tcp.c: tcp_close_state"],
        rfc: "3.10.4",
    },
    TransitionText {
        from: LastAck,
        to: Close,
        meaning: "The connection ends normally on the side that closes last. No TIME_WAIT follows \
                  on this side.",
        caused_by: aborts!("The peer's ACK of this side's FIN."),
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
        meaning: "The mini socket ends after 60 s, or earlier if it is reused or killed.",
        caused_by: "A timer; a new SYN; connect() with tcp_tw_reuse; an RST; ss -K; the end of the \
                    network namespace.",
        kernel: &[
            "net/ipv4/inet_timewait_sock.c: tw_timer_handler",
            "net/ipv4/inet_timewait_sock.c: inet_twsk_kill",
            "net/ipv4/inet_timewait_sock.c: inet_twsk_deschedule_put",
        ],
        rfc: "3.6.1, 3.10.8",
    },
];

/// Returns the reason why the kernel never moves a socket from the state `from` to the state `to`.
/// The function is long because it is a table of texts.
pub(super) const fn why_never(from: State, to: State) -> &'static str {
    match (from, to) {
        (NewSynRecv, _) | (_, NewSynRecv) => {
            "NEW_SYN_RECV is the state of request sockets, and a request socket never changes its \
             state. An ACK replaces the request socket with a child socket, which the kernel \
             reports as LISTEN -> SYN_RECV. An RST or a timeout removes the request socket."
        }
        (BoundInactive, _) | (_, BoundInactive) => {
            "BOUND_INACTIVE is a filter for sock_diag, not a state of a socket. The sockets that \
             the filter selects are in CLOSE."
        }
        (TimeWait, SynSent | SynRecv | Established | Listen) => {
            "A new connection can reuse the addresses and ports of a mini socket in TIME_WAIT. In \
             this case the mini socket ends (TIME_WAIT -> CLOSE, exit \"reused\"), and the kernel \
             creates a new socket or request socket."
        }
        (TimeWait, _) => "A mini socket in TIME_WAIT makes only the transition TIME_WAIT -> CLOSE.",
        (LastAck | CloseWait | SynRecv | SynSent | Listen, TimeWait) => {
            "Only the side that closes first enters TIME_WAIT, or both sides if they close at the \
             same time. The state before TIME_WAIT is FIN_WAIT2 or CLOSING."
        }
        (Established, TimeWait) => {
            "A connection that this side closes first makes several transitions: ESTABLISHED -> \
             FIN_WAIT1 -> FIN_WAIT2 -> CLOSE. At the end a mini socket in TIME_WAIT replaces the \
             full socket."
        }
        (FinWait1, TimeWait) => {
            "In RFC 9293 a segment with both ACK and FIN causes this transition. Linux makes two \
             transitions instead: FIN_WAIT1 -> FIN_WAIT2 and, at once, FIN_WAIT2 -> CLOSE. At the \
             end a mini socket in TIME_WAIT replaces the full socket."
        }
        (_, TimeWait) => {
            "A full socket is never in TIME_WAIT. When a full socket makes FIN_WAIT2 -> CLOSE or \
             CLOSING -> CLOSE, the kernel creates a mini socket in TIME_WAIT."
        }
        (Listen, SynSent) => {
            "In RFC 9293 a listener that sends data sends a SYN and moves to SYN_SENT. On Linux \
             connect() on a listening socket fails with EISCONN."
        }
        (Listen, Established) => {
            "A listener never becomes a connection. The kernel creates a child socket (LISTEN -> \
             SYN_RECV), which becomes established (SYN_RECV -> ESTABLISHED). Only master sockets \
             of MPTCP make this transition. Master sockets are not TCP sockets, and tcpstate does \
             not count them."
        }
        (SynRecv, Listen) => {
            "In RFC 9293 an RST moves a half-open connection back to LISTEN. On Linux the listener \
             stays in LISTEN during the handshake. The RST ends the request socket or the child \
             socket."
        }
        (Listen, Listen) | (SynSent, SynSent) => {
            "A second connect() fails, and a second listen() only changes the backlog. Neither \
             call sets the state again."
        }
        (_, Listen) => "Only a socket in CLOSE can start to listen.",
        (SynSent, FinWait1) => {
            "In SYN_SENT there is no connection that a FIN could close, so close() ends the socket \
             at once (SYN_SENT -> CLOSE)."
        }
        (Established, LastAck | Closing | FinWait2) => {
            "A connection makes two transitions instead, one for each FIN or ACK. The state \
             between the two transitions is CLOSE_WAIT or FIN_WAIT1."
        }
        (Close, _) => {
            "A socket leaves CLOSE only by connect() or listen(), or by its creation as a child \
             socket. TCP_REPAIR restores a connection through SYN_SENT."
        }
        (FinWait1 | FinWait2 | Closing | LastAck, Established | CloseWait) => {
            "After this side has sent its FIN, the socket cannot return to an earlier state."
        }
        _ => "The kernel has no code that moves a socket from the first state to the second state.",
    }
}
