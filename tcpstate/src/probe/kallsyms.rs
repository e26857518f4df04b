//! Addresses of the kernel's functions, where it shows them.

use std::{
    fs::File,
    io::{self, BufReader},
};

/// Addresses of functions by which a timer is known to be a mini socket's; 0 for what is not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handlers {
    pub(super) tw_timer_handler: u64,
    pub(super) reqsk_timer_handler: u64,
}

impl Handlers {
    /// Reads `/proc/kallsyms`. Without CAP_SYSLOG, or with `kernel.kptr_restrict=2`, every address in it is 0.
    pub(super) fn of_kernel() -> io::Result<Self> {
        Self::read(BufReader::new(File::open("/proc/kallsyms")?))
    }

    fn read(kallsyms: impl io::BufRead) -> io::Result<Self> {
        let mut handlers = Self::default();
        for line in kallsyms.lines() {
            let line = line?;
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let handler = match name {
                "tw_timer_handler" => &mut handlers.tw_timer_handler,
                "reqsk_timer_handler" => &mut handlers.reqsk_timer_handler,
                _ => continue,
            };
            *handler = u64::from_str_radix(address, 16).unwrap_or(0);
        }
        Ok(handlers)
    }
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
    fn what_the_kernel_hides_is_0() {
        let hidden = "0000000000000000 t tw_timer_handler\n";
        assert_eq!(Handlers::read(hidden.as_bytes()).expect("it is text"), Handlers::default());
    }
}
