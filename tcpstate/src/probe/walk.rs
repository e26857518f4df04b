//! Runs the BPF iterators over all sockets of a network namespace, or over all entries of a map.
//! The aya library supports only iterators over sockets. The aya library also cannot attach an
//! iterator on one thread and run the iterator on another thread.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use super::Error;

const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_TRACE_ITER: u32 = 28;

/// The struct `link_create` of the kernel's `union bpf_attr`, reduced to the fields that iterators
/// need.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    padding: u32,
}

/// The struct `iter_create` of the kernel's `union bpf_attr`.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// An attached iterator program.
#[derive(Debug)]
pub(crate) struct Walk {
    link: OwnedFd,
    /// The name that error messages give to the action of this iterator.
    action: &'static str,
}

impl Walk {
    /// Attaches an iterator over sockets. The iterator visits the sockets in the network namespace
    /// of the thread that runs the iterator.
    pub(super) fn over_sockets(program: BorrowedFd<'_>) -> Result<Self, Error> {
        Self::attach(program, &[], "walk the TCP sockets")
    }

    /// Attaches an iterator over the entries of a map.
    pub(super) fn over_map(
        program: BorrowedFd<'_>,
        map: BorrowedFd<'_>,
        action: &'static str,
    ) -> Result<Self, Error> {
        // `union bpf_iter_link_info` begins with the descriptor of the map.
        Self::attach(program, &[descriptor(map)], action)
    }

    fn attach(program: BorrowedFd<'_>, info: &[u32], action: &'static str) -> Result<Self, Error> {
        let attributes = LinkCreate {
            prog_fd: descriptor(program),
            target_fd: 0,
            attach_type: BPF_TRACE_ITER,
            flags: 0,
            // If `iter_info_len` is 0, the kernel refuses an `iter_info` other than 0.
            iter_info: if info.is_empty() { 0 } else { info.as_ptr() as u64 },
            iter_info_len: u32::try_from(size_of_val(info)).unwrap_or_default(),
            padding: 0,
        };
        let link = bpf(BPF_LINK_CREATE, &attributes);
        link.map(|link| Self { link, action }).map_err(|source| Error::System { action, source })
    }

    /// Runs the iterator's BPF program once for each socket or map entry.
    pub(crate) fn run(&self) -> Result<(), Error> {
        self.read(&mut Vec::new())
    }

    /// Runs the iterator's BPF program once for each socket, and appends what the program writes.
    pub(crate) fn read(&self, output: &mut Vec<u8>) -> Result<(), Error> {
        let link_fd = self.link.as_raw_fd().cast_unsigned();
        let walk = bpf(BPF_ITER_CREATE, &IterCreate { link_fd, flags: 0 });
        walk.and_then(|walk| read_to_end(walk.into(), output))
            .map_err(|source| Error::System { action: self.action, source })
    }
}

/// Reads an iterator until the iterator has visited all objects. The reads make the kernel run the
/// iterator's BPF program.
fn read_to_end(mut walk: File, output: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        match walk.read(&mut buffer) {
            // If the BPF program writes no output, a successful read returns 0 bytes and ends the
            // iteration.
            Ok(0) => return Ok(()),
            Ok(read) => output.extend_from_slice(&buffer[..read]),
            // After a million entries, a read fails with `EAGAIN` and must be repeated
            // (`bpf_seq_read`).
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attributes`, which outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just created this descriptor, and nothing else owns the descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
