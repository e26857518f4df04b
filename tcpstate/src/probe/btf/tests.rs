//! Tests that read a small handmade BTF file. Some tests damage the file before the read.

use super::*;

struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).expect("a small table");
        self.strings.extend(text.bytes().chain([0]));
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn record(&mut self, name: &str, kind: u32, count: u32, size_or_type: u32) {
        let name = self.string(name);
        self.words(&[name, (kind << 24) | count, size_or_type]);
    }

    fn member(&mut self, name: &str, type_id: u32, offset_bits: u32) {
        let name = self.string(name);
        self.words(&[name, type_id, offset_bits]);
    }

    fn finish(&self) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a small blob");
        let (types, strings) = (length(&self.types), length(&self.strings));
        let header = [0x0001_eb9f, 24, 0, types, types, strings];
        header
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .chain(self.types.clone())
            .chain(self.strings.clone())
            .collect()
    }
}

/// ```c
/// typedef const u16 proto;
/// struct net { u16 inum; };
/// struct sock { u16 a; struct { proto b; struct net *net; }; };
/// ```
fn sample() -> Blob {
    let mut blob = Blob::new();
    blob.record("u16", kind::INT, 0, 2); // 1
    blob.words(&[16]);
    blob.record("", kind::CONST, 0, 1); // 2
    blob.record("proto", kind::TYPEDEF, 0, 2); // 3
    blob.record("net", kind::STRUCT, 1, 2); // 4
    blob.member("inum", 1, 0);
    blob.record("", kind::PTR, 0, 4); // 5
    blob.record("", kind::STRUCT, 2, 16); // 6
    blob.member("b", 3, 16);
    blob.member("net", 5, 64);
    blob.record("sock", kind::STRUCT, 2, 24); // 7
    blob.member("a", 1, 0);
    blob.member("", 6, 64);
    blob
}

#[test]
fn members_of_unnamed_structs_belong_to_the_struct_around_them() {
    let btf = Btf::parse(sample().finish()).expect("the sample is whole");
    assert_eq!(btf.field("sock", "a"), Ok(Field { offset_bits: 0, bits: 16 }));
    assert_eq!(btf.field("sock", "b"), Ok(Field { offset_bits: 80, bits: 16 }));
    assert_eq!(btf.field("sock", "net"), Ok(Field { offset_bits: 128, bits: 64 }));
}

#[test]
fn a_missing_or_narrow_field_is_named() {
    let btf = Btf::parse(sample().finish()).expect("the sample is whole");
    assert_eq!(btf.field("sock", "b.c"), Err(Error::NoField { path: "sock.b.c".into() }));
    assert_eq!(btf.field("nope", "a"), Err(Error::NoField { path: "nope.a".into() }));
    assert_eq!(
        btf.offset("sock", "b", 8),
        Err(Error::Width { path: "sock.b".into(), bits: 16, expected: 8 })
    );
}

#[test]
fn truncated_btf_is_an_error() {
    let whole = sample().finish();
    for length in 0..whole.len() {
        let outcome = Btf::parse(whole[..length].to_vec());
        assert!(outcome.is_err(), "{length} of {} bytes were taken for whole", whole.len());
    }
}

#[test]
fn a_flipped_byte_anywhere_does_not_panic() {
    let whole = sample().finish();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut broken = whole.clone();
            broken[at] ^= 1 << bit;
            if let Ok(btf) = Btf::parse(broken) {
                let _ = btf.field("sock", "b");
                let _ = btf.field("sock", "net");
            }
        }
    }
}

#[test]
fn cyclic_unnamed_structs_have_no_other_members() {
    let mut blob = Blob::new();
    blob.record("sock", kind::STRUCT, 1, 8);
    blob.member("", 1, 0);
    let btf = Btf::parse(blob.finish()).expect("the shape is right");
    assert_eq!(btf.field("sock", "a"), Err(Error::NoField { path: "sock.a".into() }));
}

/// Returns types with nested structs. All members of a struct are unnamed, and the type of each
/// member is the next struct.
fn nested(levels: u32, members: u32) -> Btf {
    let mut blob = Blob::new();
    blob.record("sock", kind::STRUCT, members, 8);
    for level in 1..=levels {
        for _ in 0..members {
            blob.member("", level + 1, 0);
        }
        blob.record("", kind::STRUCT, if level == levels { 0 } else { members }, 8);
    }
    Btf::parse(blob.finish()).expect("the shape is right")
}

#[test]
fn malicious_nesting_takes_limited_time_and_stack() {
    let missing = Err(Error::NoField { path: "sock.a".into() });
    // A search that visited every path would take 9 times 10^14 steps.
    assert_eq!(nested(30, 3).field("sock", "a"), missing);
    let deep = nested(100_000, 1).field("sock", "a");
    assert!(matches!(deep, Err(Error::Malformed { .. })), "{deep:?}");
}
