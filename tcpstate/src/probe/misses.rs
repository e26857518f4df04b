//! The kernel's own count of program runs that it skipped, which no library reads yet.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// How often the kernel skipped this program because it was running on that CPU already
/// (`__bpf_trace_run` in `kernel/trace/bpf_trace.c`). Kernels that print no such line skip nothing.
pub(super) fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(parse(&fdinfo(program)?).unwrap_or(0))
}

/// Whether this kernel counts them, which those since 5.12 do.
pub(super) fn are_counted(program: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(parse(&fdinfo(program)?).is_some())
}

fn fdinfo(program: BorrowedFd<'_>) -> io::Result<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))
}

pub(super) fn parse(fdinfo: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_lines() {
        assert_eq!(
            parse(
                "pos:\t0\nprog_type:\t26\nrun_cnt:\t9\nrecursion_misses:\t1936\nverified_insns:\t5\n"
            ),
            Some(1936)
        );
        assert_eq!(parse("pos:\t0\nprog_type:\t26\n"), None);
    }
}
