//! Reads two facts from `/proc/kallsyms`: the memory addresses of the kernel functions that timers
//! call, and the hooked kernel functions that the compiler has split.

use std::{
    fs::{self, File},
    io::{self, BufReader},
};

use caps::Capability;

use super::privileges;
use crate::report::Minis;

/// The hooked kernel functions whose calls are births, moves and ends of mini sockets. Other
/// functions of the same source file call these functions. If the compiler has split such a
/// function, the callers may call a variant of the function, and the hook misses the calls.
///
/// The other hooked functions only label the ends of time-wait sockets, or find the owner of a
/// connection. The kernel calls the other functions by pointers, or from other source files. These
/// calls always reach the hook, because a variant is known only in its own source file.
const COUNTED: [&str; 4] =
    ["__inet_twsk_schedule", "inet_twsk_kill", "__inet_csk_reqsk_queue_drop", "inet_ehash_insert"];

/// The parts of the names that gcc gives to variants of a function. gcc moves a part of a function
/// to `NAME.part.0`, or makes a copy with other arguments: `NAME.isra.0` or `NAME.constprop.0`.
const VARIANTS: [&str; 3] = ["part", "isra", "constprop"];

/// The kernel functions that `/proc/kallsyms` names, as far as tcpstate needs the functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbols {
    /// The address of the function of time-wait sockets' timers; 0 if the kernel hides the address.
    pub(super) tw_timer_handler: u64,
    /// The address of the function of request sockets' timers; 0 if the kernel hides the address.
    pub(super) reqsk_timer_handler: u64,
    /// Whether the file names at least one function.
    has_names: bool,
    /// Whether the kernel shows the address of at least one function.
    shows_addresses: bool,
    /// The functions of [`COUNTED`] that have a variant, and the name of the variant.
    split: Vec<(&'static str, String)>,
}

/// The reason why the address of a function is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The file `/proc/kallsyms` cannot be read, or it names no function.
    NoFile,
    /// The process lacks CAP_SYSLOG.
    FromThisProcess,
    /// The addresses are hidden from all processes (`kernel.kptr_restrict=2`).
    FromAll,
    /// The process has CAP_SYSLOG, and the kernel still hides the addresses, for example because
    /// the capability has no effect in a container.
    Refused,
    /// The kernel shows the addresses of other functions, so the kernel does not contain this
    /// function.
    Absent,
}

impl Symbols {
    /// Reads `/proc/kallsyms`. Without CAP_SYSLOG, or with `kernel.kptr_restrict=2`, every address
    /// in the file is 0. The names are always complete.
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

    /// If the compiler has split this function of [`COUNTED`], returns the name of a variant.
    pub(super) fn variant_of(&self, function: &str) -> Option<&str> {
        let mut split = self.split.iter();
        split.find(|(name, _)| *name == function).map(|(_, variant)| variant.as_str())
    }

    fn hidden(&self) -> Hidden {
        let has_syslog = privileges::has(Capability::CAP_SYSLOG);
        self.hidden_by(kptr_restrict(), has_syslog)
    }

    fn hidden_by(&self, kptr_restrict: Option<u32>, has_syslog: bool) -> Hidden {
        match kptr_restrict {
            _ if self.shows_addresses => Hidden::Absent,
            _ if !self.has_names => Hidden::NoFile,
            Some(2..) => Hidden::FromAll,
            _ if !has_syslog => Hidden::FromThisProcess,
            // The kernel hides the addresses although the process has the capability.
            _ => Hidden::Refused,
        }
    }

    pub(super) fn read(kallsyms: impl io::BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        for line in kallsyms.lines() {
            let line = line?;
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let address = u64::from_str_radix(address, 16).unwrap_or(0);
            symbols.has_names = true;
            symbols.shows_addresses |= address != 0;
            match name {
                "tw_timer_handler" => symbols.tw_timer_handler = address,
                "reqsk_timer_handler" => symbols.reqsk_timer_handler = address,
                _ => {
                    let split = split_function(name).map(|function| (function, name.to_owned()));
                    symbols.split.extend(split);
                }
            }
        }
        Ok(symbols)
    }
}

/// If the name is the name of a variant of a function of [`COUNTED`], returns the function.
///
/// The name `NAME.cold` is not a variant: `NAME.cold` holds rarely used instructions of `NAME`, and
/// only `NAME` jumps there.
fn split_function(name: &str) -> Option<&'static str> {
    let (function, suffix) = name.split_once('.')?;
    let function = COUNTED.into_iter().find(|counted| *counted == function)?;
    let has = |words: &[&str]| suffix.split('.').any(|word| words.contains(&word));
    (has(&VARIANTS) && !has(&["cold"])).then_some(function)
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
    fn functions_of_timers_are_found_by_their_whole_name() {
        let kallsyms = "ffffffff81000000 T _stext\nffffffff81a00010 t tw_timer_handler\n\
            ffffffff81a00020 t reqsk_timer_handler\nffffffff81a00030 t reqsk_timer_handler.cold\n";
        let symbols = Symbols::read(kallsyms.as_bytes()).expect("it is text");
        assert_eq!(symbols.tw_timer_handler, 0xffff_ffff_81a0_0010);
        assert_eq!(symbols.reqsk_timer_handler, 0xffff_ffff_81a0_0020);
    }

    #[test]
    fn hidden_addresses_are_zero() {
        let hidden = "0000000000000000 t tw_timer_handler\n";
        let symbols = Symbols::read(hidden.as_bytes()).expect("it is text");
        assert_eq!(symbols, Symbols { has_names: true, ..Symbols::default() });
        for (kptr_restrict, has_syslog, expected) in [
            (Some(2), true, Hidden::FromAll),
            (Some(2), false, Hidden::FromAll),
            (Some(1), false, Hidden::FromThisProcess),
            (Some(0), false, Hidden::FromThisProcess),
            (None, false, Hidden::FromThisProcess),
            (Some(1), true, Hidden::Refused),
            (None, true, Hidden::Refused),
        ] {
            assert_eq!(symbols.hidden_by(kptr_restrict, has_syslog), expected);
        }
        let empty = Symbols::read(&b""[..]).expect("it is text");
        assert_eq!(empty.hidden_by(Some(2), true), Hidden::NoFile);
    }

    #[test]
    fn absent_functions_are_not_hidden() {
        let others = "ffffffff81000000 T _stext\n";
        let symbols = Symbols::read(others.as_bytes()).expect("it is text");
        assert_eq!(symbols.of(Minis::TimeWait), Err(Hidden::Absent));
    }

    /// Returns the variant that is found for `__inet_twsk_schedule` if the kernel has a function
    /// with this name.
    fn variant(name: &str) -> Option<String> {
        let kallsyms = format!(
            "0000000000000000 T __inet_twsk_schedule\n0000000000000000 t {name}\n\
             0000000000000000 t inet_twsk_kill\n"
        );
        let symbols = Symbols::read(kallsyms.as_bytes()).expect("it is text");
        assert_eq!(symbols.variant_of("inet_twsk_kill"), None);
        symbols.variant_of("__inet_twsk_schedule").map(str::to_owned)
    }

    #[test]
    fn variants_of_counted_functions_are_found() {
        for name in [
            "__inet_twsk_schedule.part.0",
            "__inet_twsk_schedule.isra.0",
            "__inet_twsk_schedule.constprop.12",
            "__inet_twsk_schedule.constprop.0.isra.0",
        ] {
            assert_eq!(variant(name).as_deref(), Some(name));
        }
    }

    #[test]
    fn similar_names_are_not_variants() {
        for name in [
            "__inet_twsk_schedule.cold",
            "__inet_twsk_schedule.part.0.cold",
            "__pfx___inet_twsk_schedule.part.0",
            "__inet_twsk_schedule_part",
            "__inet_twsk_schedule.llvm.1234",
            "inet_twsk_schedule.part.0",
            "inet_twsk_free.part.0",
        ] {
            assert_eq!(variant(name), None, "{name}");
        }
    }
}
