//! A walk over the entries of a map, by a program of type `iter/bpf_map_elem`: what aya does not offer yet.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_TRACE_ITER: u32 = 28;

/// `struct { ... } link_create` of `union bpf_attr`, as far as iterators need it.
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

/// `struct { ... } iter_create` of `union bpf_attr`.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// Attaches a program to a map. Each [`open`] then is a walk.
pub(super) fn attach(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // `union bpf_iter_link_info` begins with the map's descriptor.
    let info = descriptor(map);
    let attributes = LinkCreate {
        prog_fd: descriptor(program),
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        iter_info: (&raw const info) as u64,
        // Of one descriptor.
        iter_info_len: 4,
        padding: 0,
    };
    bpf(BPF_LINK_CREATE, &attributes)
}

/// A walk; reading it to the end runs the program on each entry.
pub(super) fn open(link: BorrowedFd<'_>) -> io::Result<File> {
    bpf(BPF_ITER_CREATE, &IterCreate { link_fd: descriptor(link), flags: 0 }).map(File::from)
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as it is told, of a struct that outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
