//! Reads the running kernel's type information (BTF), to find the offsets of the few fields that
//! the BPF programs load.
//!
//! Rust objects contain no relocations for field offsets, and field offsets differ between kernels.
//! This module looks up the field offsets of the running kernel. User space passes the field
//! offsets to the BPF programs as frozen globals. The BTF format is described in
//! `include/uapi/linux/btf.h`.

use std::{collections::HashSet, fs, path::Path};

use super::lack::help_of_limit;

/// The file in which a kernel with `CONFIG_DEBUG_INFO_BTF` exports its types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The reason why an offset is unknown.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// The error of the system.
        cause: String,
        /// The help line, if a limit of this process or of the system is the cause.
        limit: Option<&'static str>,
    },
    /// The bytes are not BTF, or the BTF data ends too early.
    #[error("cannot parse the kernel BTF: {what} is missing at byte {at}")]
    Malformed {
        /// The position of the error in the file.
        at: usize,
        /// The content that was expected at the position of the error.
        what: &'static str,
    },
    /// The kernel's types do not contain this field.
    #[error("cannot use the kernel BTF: it has no field {path}")]
    NoField {
        /// The names of structs and fields, joined by dots.
        path: String,
    },
    /// The kernel's types contain no enumerator or function with this name.
    #[error("cannot use the kernel BTF: it has no {kind} {name}")]
    NoName {
        /// The kind of the missing name: `enumerator` or `function`.
        kind: &'static str,
        /// The name that is missing in the kernel's types.
        name: String,
    },
    /// The field exists, but the width of the field differs from the width that the BPF programs
    /// load.
    #[error("cannot use the kernel BTF: field {path} has {bits} bits instead of {expected}")]
    Width {
        /// The names of structs and fields, joined by dots.
        path: String,
        /// The width in bits in this kernel.
        bits: u32,
        /// The width in bits that the programs expect.
        expected: u32,
    },
}

/// The position of a field in its outermost struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The offset in bits from the start of the struct.
    pub offset_bits: u32,
    /// The width in bits. If a type has no size of its own, `bits` is 0.
    pub bits: u32,
}

/// The parsed BTF data, and the position of each type's record.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// The position in bytes of each type's record. The ids of types begin with 1. Index 0 is the
    /// type `void`. The type `void` has no record.
    records: Vec<usize>,
    strings: std::ops::Range<usize>,
}

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

const RECORD_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const ENUMERATOR_BYTES: usize = 8;
/// The maximum nesting of types. Types of real kernels are nested less than ten levels deep. The
/// maximum nesting also stops a search in the cyclic types of a malicious file.
const MAX_DEPTH: u32 = 32;

impl Btf {
    /// Reads and parses the running kernel's types.
    pub fn from_kernel() -> Result<Self, Error> {
        Self::from_file(Path::new(VMLINUX))
    }

    /// Reads and parses a file.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let data = fs::read(path).map_err(|error| Error::Unreadable {
            path: path.display().to_string(),
            cause: error.to_string(),
            limit: help_of_limit(&error),
        })?;
        Self::parse(data)
    }

    /// Parses BTF in the byte order of this machine.
    pub fn parse(data: Vec<u8>) -> Result<Self, Error> {
        const MAGIC: u32 = 0xeb9f;
        let word = |at: usize| read_u32(&data, at);
        if word(0)? & 0xffff != MAGIC {
            return Err(Error::Malformed { at: 0, what: "the magic number" });
        }
        let header = word(4)? as usize;
        let section = |offset: u32, length: u32| {
            let start = header.checked_add(offset as usize)?;
            let end = start.checked_add(length as usize)?;
            (end <= data.len()).then_some(start..end)
        };
        let types = section(word(8)?, word(12)?)
            .ok_or(Error::Malformed { at: 8, what: "a type section" })?;
        let strings = section(word(16)?, word(20)?)
            .ok_or(Error::Malformed { at: 16, what: "a string section" })?;

        let mut records = vec![0];
        let mut at = types.start;
        while at < types.end {
            records.push(at);
            let info = word(at + 4)?;
            let count = (info & 0xffff) as usize;
            at += RECORD_BYTES
                + match (info >> 24) & 0x1f {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
                    kind::ENUM | kind::FUNC_PROTO => count * 8,
                    2 | 7..=12 | 16 | 18 => 0,
                    _ => return Err(Error::Malformed { at, what: "a known kind of type" }),
                };
        }
        Ok(Self { data, records, strings })
    }

    /// Finds a field by the name of the struct and the path of the field, such as `sock_common` and
    /// `skc_net.net`. Members of unnamed structs and unions belong to the struct around them, as in
    /// C.
    pub fn field(&self, structure: &str, path: &str) -> Result<Field, Error> {
        let missing = || Error::NoField { path: format!("{structure}.{path}") };
        let mut id = self.structure(structure)?.ok_or_else(missing)?;
        let mut field = Field { offset_bits: 0, bits: 0 };
        for name in path.split('.') {
            let (member, type_id) =
                self.member(id, name, &mut HashSet::new(), 0)?.ok_or_else(missing)?;
            field = Field {
                offset_bits: field.offset_bits.saturating_add(member.offset_bits),
                bits: member.bits,
            };
            id = type_id;
        }
        if field.bits == 0 {
            field.bits = self.size_bytes(id)?.saturating_mul(8);
        }
        Ok(field)
    }

    /// Returns the offset in bytes of a field. If the field does not have the expected width, the
    /// function returns an error.
    pub fn offset(&self, structure: &str, path: &str, expected: u32) -> Result<u32, Error> {
        let Field { offset_bits, bits } = self.field(structure, path)?;
        if bits != expected || offset_bits % 8 != 0 {
            return Err(Error::Width { path: format!("{structure}.{path}"), bits, expected });
        }
        Ok(offset_bits / 8)
    }

    /// Returns the value of an enumerator of any enum.
    pub fn enumerator(&self, name: &str) -> Result<u32, Error> {
        for &at in self.records.iter().skip(1) {
            if self.kind(at)? != kind::ENUM {
                continue;
            }
            for index in 0..self.count(at)? {
                let enumerator = at + RECORD_BYTES + index * ENUMERATOR_BYTES;
                if self.is_named(read_u32(&self.data, enumerator)?, name) {
                    return read_u32(&self.data, enumerator + 4);
                }
            }
        }
        Err(Error::NoName { kind: "enumerator", name: name.into() })
    }

    /// Returns the number of arguments of a function.
    pub fn arguments(&self, function: &str) -> Result<usize, Error> {
        for &at in self.records.iter().skip(1) {
            if self.kind(at)? == kind::FUNC && self.is_named(read_u32(&self.data, at)?, function) {
                return self.count(self.record(read_u32(&self.data, at + 8)?)?);
            }
        }
        Err(Error::NoName { kind: "function", name: function.into() })
    }

    fn structure(&self, name: &str) -> Result<Option<u32>, Error> {
        for (id, &at) in self.records.iter().enumerate().skip(1) {
            if self.kind(at)? == kind::STRUCT && self.is_named(read_u32(&self.data, at)?, name) {
                return Ok(u32::try_from(id).ok());
            }
        }
        Ok(None)
    }

    /// Finds a member of a struct or union, and the type of the member. If the member is not a bit
    /// field, the returned `bits` is 0.
    ///
    /// An unnamed struct is searched only once, even if the struct occurs in several places.
    /// Repeated searches in the types of a malicious file could take unlimited time.
    fn member(
        &self,
        id: u32,
        name: &str,
        seen: &mut HashSet<u32>,
        depth: u32,
    ) -> Result<Option<(Field, u32)>, Error> {
        let id = self.resolve(id)?;
        let at = self.record(id)?;
        if !seen.insert(id) {
            return Ok(None);
        }
        if depth > MAX_DEPTH {
            return Err(Error::Malformed { at, what: "an end of nested types" });
        }
        let info = read_u32(&self.data, at + 4)?;
        if !matches!((info >> 24) & 0x1f, kind::STRUCT | kind::UNION) {
            return Ok(None);
        }
        let has_bit_fields = info >> 31 == 1;
        for index in 0..(info & 0xffff) as usize {
            let member = at + RECORD_BYTES + index * MEMBER_BYTES;
            let (name_at, type_id) =
                (read_u32(&self.data, member)?, read_u32(&self.data, member + 4)?);
            let raw = read_u32(&self.data, member + 8)?;
            let here = if has_bit_fields {
                Field { offset_bits: raw & 0x00ff_ffff, bits: raw >> 24 }
            } else {
                Field { offset_bits: raw, bits: 0 }
            };
            if self.is_named(name_at, name) {
                return Ok(Some((here, type_id)));
            }
            if self.is_named(name_at, "")
                && let Some((inner, inner_type)) = self.member(type_id, name, seen, depth + 1)?
            {
                let offset_bits = here.offset_bits.saturating_add(inner.offset_bits);
                return Ok(Some((Field { offset_bits, bits: inner.bits }, inner_type)));
            }
        }
        Ok(None)
    }

    /// Skips typedefs and qualifiers, and returns the id of the underlying type.
    fn resolve(&self, mut id: u32) -> Result<u32, Error> {
        for _ in 0..MAX_DEPTH {
            let at = self.record(id)?;
            match self.kind(at)? {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = read_u32(&self.data, at + 8)?;
                }
                _ => return Ok(id),
            }
        }
        Err(Error::Malformed { at: self.record(id)?, what: "an end of type names" })
    }

    fn size_bytes(&self, id: u32) -> Result<u32, Error> {
        let at = self.record(self.resolve(id)?)?;
        match self.kind(at)? {
            kind::PTR => Ok(8),
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 => {
                read_u32(&self.data, at + 8)
            }
            _ => Ok(0),
        }
    }

    fn record(&self, id: u32) -> Result<usize, Error> {
        let at = self.records.get(id as usize).copied().filter(|&at| at != 0);
        at.ok_or(Error::Malformed { at: 0, what: "an existing type id" })
    }

    /// Returns the number of entries of a record: the members of a struct, the enumerators of an
    /// enum or the arguments of a function.
    fn count(&self, at: usize) -> Result<usize, Error> {
        Ok((read_u32(&self.data, at + 4)? & 0xffff) as usize)
    }

    fn kind(&self, at: usize) -> Result<u32, Error> {
        Ok((read_u32(&self.data, at + 4)? >> 24) & 0x1f)
    }

    /// Returns whether the string at this offset equals the name. The function reads at most one
    /// byte more than the length of the name.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let strings = &self.data[self.strings.clone()];
        let rest = strings.get(offset as usize..).and_then(|at| at.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first().is_none_or(|&byte| byte == 0))
    }
}

fn read_u32(data: &[u8], at: usize) -> Result<u32, Error> {
    let bytes =
        at.checked_add(4).and_then(|end| data.get(at..end)).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_ne_bytes).ok_or(Error::Malformed { at, what: "a number of four bytes" })
}

#[cfg(test)]
mod tests;
