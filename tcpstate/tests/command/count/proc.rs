//! Tests `count` when the kernel refuses to create netlink sockets. In this case, `count` must read
//! /proc and report that `count` reads /proc.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use tcpstate_tests::{
    netns::Namespace,
    traffic::Mixed,
    truth::{ss, ss_filtered},
};

use super::{Public, counts, output};

/// Makes the command run with a seccomp filter that refuses netlink sockets. The seccomp profile of
/// a container may also refuse netlink sockets.
fn without_netlink(command: &mut Command) -> &mut Command {
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // The BPF filter loads two fields of `struct seccomp_data`: the system call number, and the low
    // half of the first argument. The offset of this half is valid only on little-endian machines.
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).expect("codes are small"),
        jt,
        jf,
        k,
    };
    let socket = u32::try_from(libc::SYS_socket).expect("numbers of system calls are small");
    let refusal = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned();
    let program = [
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 0, 3, socket),
        instruction(LOAD_WORD, 0, 0, 16),
        instruction(JUMP_IF_EQUAL, 0, 1, libc::AF_NETLINK.cast_unsigned()),
        instruction(RETURN, 0, 0, refusal),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let confine = move || {
        let filter = libc::sock_fprog { len: 6, filter: program.as_ptr().cast_mut() };
        // SAFETY: the kernel copies the filter during the call. The seccomp filter outlives the two
        // calls, and the calls use no other memory.
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec, the closure makes two system calls and allocates no memory, so
    // it is async-signal-safe.
    unsafe { command.pre_exec(confine) }
}

#[test]
#[cfg(target_endian = "little")]
fn count_without_netlink_reads_proc_and_says_so() {
    let program = Public::new("proc");
    let _namespace = Namespace::enter();
    let _mixed = Mixed::open(1000);
    let (rows, stderr) = output(without_netlink(&mut program.count(&[])));
    assert_eq!(counts(&rows), ss());
    assert!(stderr.contains("Address family not supported by protocol"), "{stderr}");
    assert!(stderr.contains("/proc/net/tcp and tcp6 are read instead"), "{stderr}");
    assert!(stderr.lines().count() == 2 && stderr.contains("\nhelp: "), "{stderr}");
    let flags = ["--family", "6", "--remote", "127.0.0.0/8", "--state", "established"];
    let (rows, _) = output(without_netlink(&mut program.count(&flags)));
    let filtered = counts(&rows);
    assert_eq!(
        filtered,
        ss_filtered(&[
            "-6",
            "state",
            "established",
            "state",
            "closed",
            "dst",
            "[::ffff:127.0.0.0/104]"
        ])
    );
    assert!(filtered.total() > 0);
}
