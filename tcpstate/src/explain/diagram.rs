//! The diagram of the TCP states as Linux uses them.

/// The diagram in plain ASCII, at most 80 columns wide.
///
/// Solid lines are transitions of full sockets, which the kernel reports. Dotted lines are changes
/// that the kernel does not report.
pub(super) const DIAGRAM: &str = r"
                           CLOSE
               connect() /       \ listen()
                        v         v
                 SYN_SENT        LISTEN . SYN . > [SYN_RECV]
                  |     |           .                 .
          SYN+ACK |     | SYN       . creates a child . ACK
                  |     v           v socket and      .
                  |    SYN_RECV < . . stays LISTEN  . .
                  v       | ACK
             ESTABLISHED <'
              |       |
      close() |       | FIN
              v       v
      FIN_WAIT1       CLOSE_WAIT
       |     |            |
   FIN |     | ACK        | close()
       v     v            v
  CLOSING  FIN_WAIT2     LAST_ACK
       |     |   .            |
   ACK |     |   . close()    | ACK
       |     |   v            v
       | FIN |  [FIN_WAIT2]  CLOSE
       |     |   . FIN
       v     v   v
       [TIME_WAIT] . . 60 s . . > gone
";

/// Explains how to read the diagram, and names what the diagram does not show.
pub(super) const LEGEND: &str = "\
Names without brackets are states of full sockets. A solid line is a transition that the kernel \
reports (sock:inet_sock_set_state). [Names] in brackets are states of mini sockets: small structs \
that the kernel uses instead of full sockets. Request sockets stand for half-open connections, and \
time-wait sockets stand for closed connections. The kernel does not report when a mini socket is \
created or ends. Dotted lines show these changes. When a time-wait socket replaces a full socket, \
the kernel reports FIN_WAIT2 -> CLOSE or CLOSING -> CLOSE. The diagram leaves out three kinds of \
transitions. The first kind is any state -> CLOSE: a reset, a timeout or an abort. The second kind \
is SYN_RECV -> FIN_WAIT1: a close() before the last ACK. The third kind is X -> X: the state does \
not change.";
