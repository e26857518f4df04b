//! Messages to the service manager (`sd_notify`), and its watchdog.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The shortest time between two messages of the watchdog.
const SHORTEST: Duration = Duration::from_millis(10);

/// Sends a message such as `READY=1` to the service manager, if there is one. The function never
/// waits for the manager: if the manager does not read its messages, the message is dropped.
pub(super) fn notify(message: &str) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET") {
        // A manager that is gone needs no message.
        let _ = send(path.as_bytes(), message);
    }
}

fn send(path: &[u8], message: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Returns the time between two messages of the watchdog, if the manager expects messages of this
/// process: half of the time after which the manager restarts the service.
pub(super) fn watchdog_interval() -> Option<Duration> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    interval(number("WATCHDOG_USEC"), number("WATCHDOG_PID"), std::process::id())
}

fn interval(micros: Option<u64>, pid: Option<u64>, own: u32) -> Option<Duration> {
    let micros = micros.filter(|&micros| micros > 0)?;
    let is_ours = pid.is_none_or(|pid| pid == u64::from(own));
    is_ours.then(|| (Duration::from_micros(micros) / 2).max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdog_of_0_or_of_another_process_is_none() {
        assert_eq!(interval(None, None, 7), None);
        assert_eq!(interval(Some(0), None, 7), None);
        assert_eq!(interval(Some(2_000_000), Some(8), 7), None);
        assert_eq!(interval(Some(2_000_000), Some(7), 7), Some(Duration::from_secs(1)));
        assert_eq!(interval(Some(1), None, 7), Some(SHORTEST));
        assert!(interval(Some(u64::MAX), None, 7).is_some());
    }

    #[test]
    fn notifying_does_not_wait_for_a_manager_that_reads_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket can be made there");
        let sends = || send(path.as_os_str().as_bytes(), "WATCHDOG=1");
        let refused = std::iter::repeat_with(sends).take(100_000).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(manager);
        assert!(send(b"/no/such/socket", "READY=1").is_err());
        assert!(send(&[b'x'; 4096], "READY=1").is_err());
    }
}
