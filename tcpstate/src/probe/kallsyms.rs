//! Reads the memory addresses of kernel functions from `/proc/kallsyms`, if the kernel shows the
//! addresses.

use std::{
    fs::{self, File},
    io::{self, BufReader},
};

use caps::Capability;

use super::privileges;
use crate::report::Minis;

/// The addresses of the kernel functions that identify the timers of mini sockets. If the kernel
/// hides an address, the address is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handlers {
    pub(super) tw_timer_handler: u64,
    pub(super) reqsk_timer_handler: u64,
    /// Whether the kernel shows the address of at least one function.
    shows_addresses: bool,
}

/// The reason why the address of a function is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The process lacks CAP_SYSLOG.
    FromThisProcess,
    /// The addresses are hidden from all processes (`kernel.kptr_restrict=2`).
    FromAll,
    /// The kernel shows the addresses of other functions, so the kernel does not contain this
    /// function.
    Absent,
}

impl Handlers {
    /// Reads `/proc/kallsyms`. Without CAP_SYSLOG, or with `kernel.kptr_restrict=2`, every address
    /// in the file is 0.
    pub(super) fn of_kernel() -> io::Result<Self> {
        Self::read(BufReader::new(File::open("/proc/kallsyms")?))
    }

    /// Returns the address of the kernel function that the timers of one kind of mini sockets call.
    pub(super) fn of(&self, minis: Minis) -> Result<u64, Hidden> {
        let address = match minis {
            Minis::TimeWait => self.tw_timer_handler,
            Minis::SynRecv => self.reqsk_timer_handler,
        };
        if address == 0 { Err(self.hidden()) } else { Ok(address) }
    }

    fn hidden(&self) -> Hidden {
        let has_syslog = privileges::has(Capability::CAP_SYSLOG);
        match kptr_restrict() {
            _ if self.shows_addresses => Hidden::Absent,
            Some(0 | 1) if !has_syslog => Hidden::FromThisProcess,
            _ => Hidden::FromAll,
        }
    }

    pub(super) fn read(kallsyms: impl io::BufRead) -> io::Result<Self> {
        let mut handlers = Self::default();
        for line in kallsyms.lines() {
            let line = line?;
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let address = u64::from_str_radix(address, 16).unwrap_or(0);
            handlers.shows_addresses |= address != 0;
            let handler = match name {
                "tw_timer_handler" => &mut handlers.tw_timer_handler,
                "reqsk_timer_handler" => &mut handlers.reqsk_timer_handler,
                _ => continue,
            };
            *handler = address;
        }
        Ok(handlers)
    }
}

/// Returns the value of the sysctl `kernel.kptr_restrict`. With the value 2, the kernel hides the
/// addresses of kernel functions from all processes.
pub(super) fn kptr_restrict() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/kptr_restrict").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_found_by_their_whole_name() {
        let kallsyms = "ffffffff81000000 T _stext\nffffffff81a00010 t tw_timer_handler\n\
            ffffffff81a00020 t reqsk_timer_handler\nffffffff81a00030 t reqsk_timer_handler.cold\n";
        let handlers = Handlers::read(kallsyms.as_bytes()).expect("it is text");
        assert_eq!(handlers.tw_timer_handler, 0xffff_ffff_81a0_0010);
        assert_eq!(handlers.reqsk_timer_handler, 0xffff_ffff_81a0_0020);
    }

    #[test]
    fn hidden_addresses_are_zero() {
        let hidden = "0000000000000000 t tw_timer_handler\n";
        assert_eq!(Handlers::read(hidden.as_bytes()).expect("it is text"), Handlers::default());
    }

    #[test]
    fn absent_functions_are_not_hidden() {
        let others = "ffffffff81000000 T _stext\n";
        let handlers = Handlers::read(others.as_bytes()).expect("it is text");
        assert_eq!(handlers.of(Minis::TimeWait), Err(Hidden::Absent));
    }
}
