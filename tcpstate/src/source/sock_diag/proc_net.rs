//! Reads `/proc/net/tcp` and `tcp6`, if the kernel has no `sock_diag`, or a sandbox forbids
//! `sock_diag`. The files list all sockets but no cgroups. Reading the files costs several times
//! more than reading from `sock_diag`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use tcpstate_common::State;

use super::{Detail, Error, Query, Socket, SocketFile};
use crate::report::Family;

/// Calls `each` with each socket of the thread's network namespace.
pub(super) fn list(query: &Query<'_>, each: &mut dyn FnMut(&Socket)) -> Result<bool, Error> {
    for family in query.filter.families() {
        let file = match family {
            Family::V4 => "/proc/thread-self/net/tcp",
            Family::V6 => "/proc/thread-self/net/tcp6",
        };
        let read = File::open(file).and_then(|table| read(BufReader::new(table), each));
        match read {
            // A kernel without IPv6 has no file `tcp6`.
            Err(error) if error.kind() == io::ErrorKind::NotFound && family == Family::V6 => {}
            outcome => outcome.map_err(|source| Error::Table { file: file.into(), source })?,
        }
    }
    Ok(true)
}

pub(super) fn read(mut table: impl BufRead, each: &mut dyn FnMut(&Socket)) -> io::Result<()> {
    let mut row = String::new();
    for number in 1.. {
        row.clear();
        if table.read_line(&mut row)? == 0 {
            break;
        }
        // The first row contains the names of the columns.
        if number > 1 {
            let bad = || {
                let text = format!("row {number} is none of a socket: {:?}", row.trim_end());
                io::Error::new(io::ErrorKind::InvalidData, text)
            };
            each(&socket(&row).ok_or_else(bad)?);
        }
    }
    Ok(())
}

/// Parses a row of the file: `0: 0100007F:1F90 00000000:0000 0A tx:rx tr:when retransmits uid
/// timeout inode ...`
fn socket(row: &str) -> Option<Socket> {
    let mut columns = row.split_ascii_whitespace().skip(1);
    let local = end(columns.next()?)?;
    let remote = end(columns.next()?)?;
    let state = State::from_number(usize::from_str_radix(columns.next()?, 16).ok()?)?;
    let (_, receive_queue) = columns.next()?.split_once(':')?;
    let (running, ticks) = columns.next()?.split_once(':')?;
    let retransmits = u64::from_str_radix(columns.next()?, 16).ok()?;
    let uid = columns.next()?.parse().ok()?;
    let inode = NonZeroU32::new(columns.nth(1)?.parse().ok()?);
    let holder = inode.map(|inode| SocketFile { uid, inode });
    // The time is in hundredths of a second, independent of the kernel's clock rate.
    let left = Duration::from_millis(u64::from_str_radix(ticks, 16).ok()?.saturating_mul(10));
    let detail = Detail {
        receive_queue: u32::from_str_radix(receive_queue, 16).ok()?,
        backlog: None,
        timer: (running != "00").then_some(left),
        // The number of the timer of a time-wait socket is 3 (`get_timewait4_sock`).
        is_time_wait: running == "03",
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        silence: None,
        drops: None,
    };
    Some(Socket { state, local, remote, holder, cgroup: None, cookie: 0, detail })
}

/// Parses an address and a port. An address consists of 4-byte words in memory order. A port is
/// written as a hexadecimal number.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let digits = address.get(8 * at..8 * at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn sockets(rows: &str) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        read(format!("{HEADING}{rows}").as_bytes(), &mut |socket| sockets.push(*socket))?;
        Ok(sockets)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn full_sockets_and_minis_of_both_families_are_read() {
        let sockets = sockets(concat!(
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 52241 1 00000000a8c71b5f 100 0 0 10 0\n",
            "   1: 00000000000000000000000001000000:1F90 0000000000000000FFFF00000200000A:D2F4 06 00000000:00000000 03:00000064 00000000     0        0 0 3 0000000033cc\n",
        ));
        let sockets = sockets.expect("both rows are the kernel's");
        let inode = NonZeroU32::new(52241).expect("it is not 0");
        assert_eq!(sockets[0].state, State::Listen);
        assert_eq!(sockets[0].local.to_string(), "127.0.0.1:8080");
        assert_eq!(sockets[0].remote.to_string(), "0.0.0.0:0");
        assert_eq!(sockets[0].holder, Some(SocketFile { uid: 1000, inode }));
        assert_eq!(sockets[1].state, State::TimeWait);
        assert_eq!(sockets[1].local.to_string(), "[::1]:8080");
        assert_eq!(sockets[1].remote.to_string(), "[::ffff:10.0.0.2]:54004");
        assert_eq!(sockets[1].holder, None);
    }

    #[test]
    fn invalid_rows_are_errors_with_their_number() {
        let good = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 52241 1 0\n";
        for bad in [
            "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:0000\n",
            "   1: 0100007F:1F90 00000000:0000 0F 00000000:00000000 00:00000000 00000000  1000        0 52241\n",
            "   1: 0100007:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 52241\n",
            "   1: 0100007\u{e9}:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 52241\n",
            "\n",
        ] {
            let error = sockets(&format!("{good}{bad}")).expect_err(bad).to_string();
            assert!(error.starts_with("row 3 is none of a socket"), "{bad}: {error}");
        }
    }
}
