//! The two ways to read kernel memory: a direct load, or a helper that takes any address.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_probe_read_kernel};
use tcpstate_common::abi::FLAG_MAKE_COOKIES;

use crate::config::config;

/// How a program reads a field from kernel memory.
pub(crate) trait Access: Copy {
    /// Whether the verifier knows the type of the pointer.
    const IS_TYPED: bool;

    /// Loads a field of a kernel object.
    ///
    /// # Safety
    /// `object` must point to a kernel object with a `T` at `offset`.
    unsafe fn load<T: Copy>(object: *const u8, offset: u32) -> T;

    /// Returns the cookie of a socket; 0 if the socket has no cookie and the program cannot create
    /// one.
    ///
    /// # Safety
    /// `sock` must point to a socket.
    unsafe fn cookie(sock: *const u8) -> u64 {
        // SAFETY: the caller guarantees that `sock` points to a socket, and the offset is from BTF.
        unsafe { Self::load(sock, config!(events.skc_cookie)) }
    }
}

/// Reads a field by a direct load, from a pointer whose type the verifier knows. The verifier
/// checks each load against the kernel's types and refuses a wrong offset.
#[derive(Clone, Copy)]
pub(crate) struct Typed;

/// Reads a field by a helper that takes any address. This access is for pointers that a program
/// computed or that a hook passes as plain numbers.
#[derive(Clone, Copy)]
pub(crate) struct Probed;

impl Access for Typed {
    const IS_TYPED: bool = true;

    /// The load is one instruction. The load is volatile, so that the compiler neither widens nor
    /// splits it.
    #[inline(always)]
    unsafe fn load<T: Copy>(object: *const u8, offset: u32) -> T {
        // SAFETY: the caller guarantees that `object` points to a kernel object with a `T` at
        // `offset`.
        unsafe { object.add(offset as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    unsafe fn cookie(sock: *const u8) -> u64 {
        // SAFETY: the caller guarantees that `sock` points to a socket, and the verifier checks the
        // pointer against the helper's argument type.
        unsafe {
            if config!(flags) & FLAG_MAKE_COOKIES != 0 {
                return bpf_get_socket_cookie(sock.cast_mut().cast());
            }
            Self::load(sock, config!(events.skc_cookie))
        }
    }
}

impl Access for Probed {
    const IS_TYPED: bool = false;

    /// The function does not check whether the helper succeeded. If the helper fails, it fills the
    /// value with zeroes (`bpf_probe_read_kernel_common`). A branch after each load would double
    /// the number of paths that the verifier has to check.
    #[inline(always)]
    unsafe fn load<T: Copy>(object: *const u8, offset: u32) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper takes any address, fails if nothing is mapped there, and always writes
        // the whole value. Zeroes are a valid value of the integers and pointers that are loaded.
        unsafe {
            let from = object.add(offset as usize).cast();
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
            value.assume_init()
        }
    }
}
