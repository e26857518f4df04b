//! Finds the offsets of the kernel fields that the BPF programs load. Each field is looked up in
//! BTF by `struct.field` and must have the width that the programs load.

use tcpstate_common::abi::{MiniOffsets, Offsets};

use super::btf::{Btf, Error, Field};

/// Returns the offsets of the kernel fields that are needed for counting full sockets.
pub(super) fn sockets(btf: &Btf) -> Result<Offsets, Error> {
    Ok(Offsets {
        sk_protocol: btf.offset("sock", "sk_protocol", 16)?,
        skc_state: btf.offset("sock_common", "skc_state", 8)?,
        skc_family: btf.offset("sock_common", "skc_family", 16)?,
        skc_prot: btf.offset("sock_common", "skc_prot", 64)?,
        skc_net: btf.offset("sock_common", "skc_net.net", 64)?,
        net_inum: btf.offset("net", "ns.inum", 32)?,
        ..Offsets::default()
    })
}

/// Adds the offsets of the kernel fields that are needed for distinguishing network namespaces.
/// Returns whether the kernel gives each namespace a cookie. Since Linux 5.12, the cookie of a
/// namespace is a plain number. Before Linux 5.12, the cookie was a struct, and the kernel created
/// a cookie only on request.
pub(super) fn namespaces(btf: &Btf, offsets: &mut Offsets) -> Result<bool, Error> {
    let has_cookies = btf.field("net", "net_cookie.counter").is_err();
    let cookie = btf.offset("net", "net_cookie", 64).ok().filter(|_| has_cookies);
    offsets.net_identity = match cookie {
        Some(offset) => offset,
        None => btf.offset("net", "hash_mix", 32)?,
    };
    // The field that contains the user count of a namespace is `count` before Linux 5.11 and
    // `ns.__ns_ref` since Linux 6.18.
    let users = btf.offset("net", "ns.count", 32).or_else(|_| btf.offset("net", "count", 32));
    offsets.net_users = users.or_else(|_| btf.offset("net", "ns.__ns_ref", 32))?;
    Ok(cookie.is_some())
}

/// Returns the offsets of the kernel fields that are needed for counting mini sockets.
pub(super) fn minis(btf: &Btf) -> Result<MiniOffsets, Error> {
    let (num_timeout, num_timeout_mask) = bits(btf, "request_sock", "num_timeout")?;
    Ok(MiniOffsets {
        tw_substate: btf.offset("inet_timewait_sock", "tw_substate", 8)?,
        tw_timer: btf.field("inet_timewait_sock", "tw_timer")?.offset_bits / 8,
        skc_refcnt: btf.offset("sock_common", "skc_refcnt", 32)?,
        timer_function: btf.offset("timer_list", "function", 64)?,
        rsk_timer: btf.field("request_sock", "rsk_timer")?.offset_bits / 8,
        num_timeout,
        num_timeout_mask,
    })
}

/// Returns two values of the kernel function `tcp_timewait_state_process`. If the kernel function
/// returns the first value, its caller kills the socket. If the kernel function returns the second
/// value, its caller replaces the socket.
pub(super) fn verdicts(btf: &Btf) -> Result<(u32, u32), Error> {
    Ok((btf.enumerator("TCP_TW_RST")?, btf.enumerator("TCP_TW_SYN")?))
}

/// Returns the offset of the byte that contains a bit field, and the mask of the field in this
/// byte. If the bit field crosses a byte boundary, the function returns an error. Bits are counted
/// from the lowest bit of a byte, as on little-endian machines.
pub(super) fn bits(btf: &Btf, structure: &str, path: &str) -> Result<(u32, u32), Error> {
    let field = btf.field(structure, path)?;
    mask(field).ok_or_else(|| Error::Width {
        path: format!("{structure}.{path}"),
        bits: field.bits,
        expected: 8 - field.offset_bits % 8,
    })
}

fn mask(Field { offset_bits, bits }: Field) -> Option<(u32, u32)> {
    let first = offset_bits % 8;
    let is_within = bits > 0 && bits <= 8 - first;
    is_within.then(|| (offset_bits / 8, ((1 << bits) - 1) << first))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The test uses types of kernels from 5.10 to 7.2. The test files contain only the needed
    /// structs. The fuzzer also uses the test files as inputs.
    #[test]
    #[cfg(target_endian = "little")]
    fn the_fields_of_all_kernels_are_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/btf");
        let mut with_cookies = Vec::new();
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            let kernel = path.file_name().expect("it is a file").to_string_lossy().into_owned();
            let btf = Btf::from_file(&path).expect("they are types");
            let mut offsets = sockets(&btf).expect(&kernel);
            if namespaces(&btf, &mut offsets).expect(&kernel) {
                with_cookies.push(kernel.clone());
            }
            let minis = minis(&btf).expect(&kernel);
            assert_eq!(minis.num_timeout_mask, 0xfe, "{kernel}");
            assert_eq!(verdicts(&btf), Ok((1, 3)), "{kernel}");
        }
        with_cookies.sort();
        // The list of kernels omits kernel 5.10, because kernel 5.10 creates the cookie of a
        // namespace only on request.
        assert_eq!(with_cookies, ["linux-6.1", "linux-6.12", "linux-6.18", "linux-7.2"]);
    }

    #[test]
    fn a_bit_field_is_a_mask_of_its_byte() {
        assert_eq!(mask(Field { offset_bits: 8 * 17 + 1, bits: 7 }), Some((17, 0xfe)));
        assert_eq!(mask(Field { offset_bits: 8 * 4, bits: 8 }), Some((4, 0xff)));
        for (offset_bits, bits) in [(1, 8), (7, 2), (0, 0), (0, 9), (0, u32::MAX)] {
            assert_eq!(
                mask(Field { offset_bits, bits }),
                None,
                "{bits} bits from {offset_bits} on"
            );
        }
    }
}
