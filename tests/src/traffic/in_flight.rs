//! Sockets in flight between two processes: a process has sent them (SCM_RIGHTS), and no process
//! has received them. Such sockets are open, but they are in no file table.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use socket2::Socket;

/// The sockets of one message. The kernel accepts up to 253 files.
const BATCH: usize = 100;

/// Sockets that are in flight until this value is dropped.
#[derive(Debug)]
pub struct InFlight {
    _sender: OwnedFd,
    _receiver: OwnedFd,
}

impl InFlight {
    /// Sends the sockets, and closes them in this process.
    ///
    /// # Panics
    /// Panics if the kernel does not accept the messages.
    #[must_use]
    pub fn send(sockets: Vec<Socket>) -> Self {
        let kind = SockType::SeqPacket;
        let (sender, receiver) =
            socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)
                .expect("there are descriptors");
        for batch in sockets.chunks(BATCH) {
            let files: Vec<RawFd> = batch.iter().map(AsRawFd::as_raw_fd).collect();
            let text = [IoSlice::new(b"x")];
            let rights = [ControlMessage::ScmRights(&files)];
            sendmsg::<()>(sender.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)
                .expect("the buffer has room");
        }
        drop(sockets);
        Self { _sender: sender, _receiver: receiver }
    }
}
