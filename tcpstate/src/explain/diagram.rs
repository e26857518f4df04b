//! The states as Linux really goes through them, drawn.

/// At most 80 columns, plain ASCII. Solid lines are reported transitions of full sockets; dotted ones are not reported.
pub(super) const DIAGRAM: &str = r"
                           CLOSE
               connect() /       \ listen()
                        v         v
                 SYN_SENT        LISTEN . SYN . > [SYN_RECV]
                  |     |           .                 .
          SYN+ACK |     | SYN       . the listener    . ACK
                  |     v           v bears a child   .
                  |    SYN_RECV < . . and stays . . . .
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

/// What the drawing leaves out, and how to read it.
pub(super) const LEGEND: &str = "Names without brackets are full sockets, and each solid line is a transition that the kernel \
reports (sock:inet_sock_set_state). [Names] in brackets are mini sockets: request sockets and time-wait sockets, which the \
kernel makes in place of full ones, and whose births and ends it does not report; dotted lines are theirs. Where a time-wait \
socket takes a full one's place, FIN_WAIT2 -> CLOSE or CLOSING -> CLOSE is reported. Not drawn: any state -> CLOSE (reset, \
timeout, abort), SYN_RECV -> FIN_WAIT1 (close() before the last ACK), and X -> X (reported, nothing moves).";
