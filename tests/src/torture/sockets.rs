//! The sockets of the process of [`App`](super::app::App), and the actions on them.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    os::fd::AsFd as _,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::{
    traffic::{self, Family, set_option},
    wait::patience,
};

/// The longest wait for a packet.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest number of bytes that one action reads.
const MOST: usize = 1 << 16;

/// Sockets by the number that the test gave them. All sockets are non-blocking.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<u32, Socket>);

impl Sockets {
    pub(super) fn open(&mut self, slot: u32, is_v6: bool) -> io::Result<u64> {
        let socket = traffic::socket(if is_v6 { Family::V6 } else { Family::V4 });
        socket.set_nonblocking(true)?;
        self.0.insert(slot, socket);
        Ok(0)
    }

    /// Sets an option by its name.
    pub(super) fn set(&self, slot: u32, name: &str, value: u32) -> io::Result<u64> {
        let socket = self.at(slot)?;
        let tcp = |option| set_option(socket, libc::IPPROTO_TCP, option, value.cast_signed());
        match name {
            "reuse" => socket.set_reuse_address(value > 0)?,
            "v6only" => socket.set_only_v6(value > 0)?,
            "linger" => socket.set_linger(Some(Duration::from_secs(value.into())))?,
            "linger2" => tcp(libc::TCP_LINGER2)?,
            "defer" => tcp(libc::TCP_DEFER_ACCEPT)?,
            "fast-open" => tcp(libc::TCP_FASTOPEN)?,
            "repair" => tcp(libc::TCP_REPAIR)?,
            // The option turns an IPv6 socket with an IPv4 connection into an IPv4 socket.
            "v4" => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_ADDRFORM, libc::AF_INET)?,
            _ => return Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT)),
        }
        Ok(0)
    }

    pub(super) fn bind(&self, slot: u32, to: SocketAddr) -> io::Result<u64> {
        self.at(slot)?.bind(&to.into()).map(|()| 0)
    }

    pub(super) fn listen(&self, slot: u32, backlog: u32) -> io::Result<u64> {
        self.at(slot)?.listen(backlog.cast_signed()).map(|()| 0)
    }

    /// Begins a connect, and does not wait for the peer.
    pub(super) fn connect(&self, slot: u32, to: SocketAddr) -> io::Result<u64> {
        match self.at(slot)?.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(0),
        }
    }

    /// Begins a connect whose SYN carries data.
    pub(super) fn fast_open(&self, slot: u32, to: SocketAddr, bytes: u32) -> io::Result<u64> {
        let data = vec![0; bytes as usize];
        match self.at(slot)?.send_to_with_flags(&data, &to.into(), libc::MSG_FASTOPEN) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            sent => Ok(sent.unwrap_or_default() as u64),
        }
    }

    /// Waits for the result of a connect. The result is the error of the socket, or 0.
    pub(super) fn await_connect(&self, slot: u32) -> io::Result<u64> {
        let socket = self.at(slot)?;
        await_event(socket, PollFlags::POLLOUT)?;
        let error = socket.take_error()?.and_then(|error| error.raw_os_error());
        Ok(u64::from(error.unwrap_or_default().cast_unsigned()))
    }

    pub(super) fn accept(&mut self, listener: u32, slot: u32) -> io::Result<u64> {
        let listener = self.at(listener)?;
        await_event(listener, PollFlags::POLLIN)?;
        let (socket, _) = listener.accept()?;
        socket.set_nonblocking(true)?;
        self.0.insert(slot, socket);
        Ok(0)
    }

    pub(super) fn send(&self, slot: u32, bytes: u32) -> io::Result<u64> {
        let mut socket = self.at(slot)?;
        socket.write(&vec![0; bytes as usize]).map(|sent| sent as u64)
    }

    /// Waits for data or the end, and reads what there is.
    pub(super) fn receive(&self, slot: u32) -> io::Result<u64> {
        let mut socket = self.at(slot)?;
        await_event(socket, PollFlags::POLLIN)?;
        socket.read(&mut vec![0; MOST]).map(|received| received as u64)
    }

    pub(super) fn shutdown(&self, slot: u32, how: &str) -> io::Result<u64> {
        let how = match how {
            "read" => Shutdown::Read,
            "write" => Shutdown::Write,
            _ => Shutdown::Both,
        };
        self.at(slot)?.shutdown(how).map(|()| 0)
    }

    pub(super) fn disconnect(&self, slot: u32) -> io::Result<u64> {
        traffic::disconnect(self.at(slot)?).map(|()| 0)
    }

    pub(super) fn port(&self, slot: u32) -> io::Result<u64> {
        self.at(slot).map(|socket| traffic::port(socket).into())
    }

    pub(super) fn close(&mut self, slot: u32) -> io::Result<u64> {
        self.0.remove(&slot).map(|_| 0).ok_or_else(unknown)
    }

    /// Closes all sockets, and returns their number.
    pub(super) fn close_all(&mut self) -> u64 {
        std::mem::take(&mut self.0).len() as u64
    }

    fn at(&self, slot: u32) -> io::Result<&Socket> {
        self.0.get(&slot).ok_or_else(unknown)
    }
}

fn unknown() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

fn await_event(socket: &Socket, event: PollFlags) -> io::Result<()> {
    let mut files = [PollFd::new(socket.as_fd(), event)];
    let timeout = PollTimeout::try_from(patience(PATIENCE)).expect("it is below a month");
    match poll(&mut files, timeout)? {
        0 => Err(io::Error::from_raw_os_error(libc::ETIME)),
        _ => Ok(()),
    }
}
