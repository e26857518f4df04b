//! Lists and texts whose decoders limit the number of elements and the memory.

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    data::Type,
    decode::Error,
    encode::{self, Write},
};

use crate::recording::budget::Budget;

/// The memory in bytes that the allocator needs for each allocation, in addition to the data.
const ALLOCATION: usize = 32;

/// The maximum depth of values in values. Records that tcpstate writes have a depth of 8.
const MAX_DEPTH: u32 = 16;

/// A list with at most `MAX` elements.
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C, T: Encode<C>, const MAX: usize> Encode<C> for List<T, MAX> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(encoder, context)
    }
}

impl<'b, C: AsMut<Budget>, T: Decode<'b, C>, const MAX: usize> Decode<'b, C> for List<T, MAX> {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        let count = begin_list(decoder, MAX, size_of::<T>(), context.as_mut())?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(decoder.decode_with(context)?);
        }
        Ok(Self(list))
    }
}

/// Decodes the number of elements of a list, and takes the memory of the list from the budget.
/// `size` is the size in bytes of a decoded element.
pub(super) fn begin_list(
    decoder: &mut Decoder<'_>,
    max: usize,
    size: usize,
    budget: &mut Budget,
) -> Result<usize, Error> {
    let count = length(decoder.array()?, max)?;
    // Each element has at least one byte. So the list is truncated if the record has fewer bytes
    // left than the list has elements.
    if count > rest(decoder) {
        return Err(Error::end_of_input());
    }
    budget.take(count, size)?;
    budget.take(1, ALLOCATION)?;
    Ok(count)
}

/// Checks the length of a list or a map. tcpstate always writes the length.
pub(super) fn length(length: Option<u64>, max: usize) -> Result<usize, Error> {
    let length = length.ok_or_else(|| Error::message("a list without a length"))?;
    usize::try_from(length)
        .ok()
        .filter(|&length| length <= max)
        .ok_or_else(|| Error::message(format!("a list of {length} elements, more than {max}")))
}

/// A text.
pub(super) struct Text(pub(super) String);

impl<C> Encode<C> for Text {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C: AsMut<Budget>> Decode<'b, C> for Text {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        let text = decoder.str()?;
        context.as_mut().take(1, text.len() + ALLOCATION)?;
        Ok(Self(text.to_owned()))
    }
}

/// A sequence of bytes, which may be a text that is not UTF-8.
#[derive(Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl<C> Encode<C> for Bytes {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C: AsMut<Budget>> Decode<'b, C> for Bytes {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        let bytes = decoder.bytes()?;
        context.as_mut().take(1, bytes.len() + ALLOCATION)?;
        Ok(Self(bytes.to_vec()))
    }
}

/// Checks that the next value is complete and not nested too deeply. minicbor skips unknown fields
/// with a stack that grows with the depth, so the reader limits the depth first.
pub(super) fn check(decoder: &Decoder<'_>) -> Result<(), Error> {
    check_value(&mut decoder.clone(), MAX_DEPTH)
}

/// Skips the next value, which may be complete or damaged.
pub(super) fn skip(decoder: &mut Decoder<'_>) -> Result<(), Error> {
    check_value(decoder, MAX_DEPTH)
}

fn check_value(decoder: &mut Decoder<'_>, depth: u32) -> Result<(), Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Error::message("values are nested too deeply"));
    };
    let values = match decoder.datatype()? {
        Type::Array => decoder.array()?.unwrap_or(0),
        Type::Map => decoder.map()?.unwrap_or(0).saturating_mul(2),
        Type::Tag => {
            decoder.tag()?;
            1
        }
        Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef => {
            return Err(Error::message("a list without a length"));
        }
        _ => return decoder.skip(),
    };
    // The loop ends at the end of the record, because each value has at least one byte.
    for _ in 0..values {
        check_value(decoder, depth)?;
    }
    Ok(())
}

fn rest(decoder: &Decoder<'_>) -> usize {
    decoder.input().len().saturating_sub(decoder.position())
}
