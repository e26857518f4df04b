//! Lists of numbers. Recordings of events consist mostly of numbers, so the decoder of this module
//! reads the bytes of a list directly.

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error,
    encode::{self, Write},
};

use super::{MAX_EVENTS, limited::begin_list};
use crate::recording::budget::Budget;

/// A list that has a number for each event.
pub(super) struct Numbers<T>(pub(super) Vec<T>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C, T: Encode<C>> Encode<C> for Numbers<T> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(encoder, context)
    }
}

impl<'b, C: AsMut<Budget>, T: Number> Decode<'b, C> for Numbers<T> {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        let count = begin_list(decoder, MAX_EVENTS, size_of::<T>(), context.as_mut())?;
        let mut numbers = Vec::with_capacity(count);
        let mut rest = decoder.input().get(decoder.position()..).unwrap_or_default();
        for _ in 0..count {
            let (number, after) = read(rest)?;
            numbers.push(number);
            rest = after;
        }
        decoder.set_position(decoder.input().len() - rest.len());
        Ok(Self(numbers))
    }
}

/// A number in a list.
pub(super) trait Number: Sized {
    /// Converts the number `value`, or returns `None` if the number is too large.
    fn positive(value: u64) -> Option<Self>;

    /// Converts the number `-1 - value`, or returns `None` if the list has no such numbers.
    fn negative(_value: u64) -> Option<Self> {
        None
    }

    /// Returns an unknown number, or `None` if each number of the list is known.
    fn unknown() -> Option<Self> {
        None
    }
}

impl Number for i64 {
    fn positive(value: u64) -> Option<Self> {
        value.try_into().ok()
    }

    fn negative(value: u64) -> Option<Self> {
        Self::try_from(value).ok().map(|value| -1 - value)
    }
}

impl Number for u32 {
    fn positive(value: u64) -> Option<Self> {
        value.try_into().ok()
    }
}

impl<T: TryFrom<u64>> Number for Option<T> {
    fn positive(value: u64) -> Option<Self> {
        value.try_into().ok().map(Some)
    }

    fn unknown() -> Option<Self> {
        Some(None)
    }
}

/// Decodes the first number of these bytes. Returns the number and the bytes after the number.
fn read<T: Number>(bytes: &[u8]) -> Result<(T, &[u8]), Error> {
    /// The encoding of an unknown number.
    const NULL: u8 = 0xf6;
    /// The bit of negative numbers.
    const NEGATIVE: u8 = 0x20;
    let (&head, rest) = bytes.split_first().ok_or_else(Error::end_of_input)?;
    if head < 24 {
        return found(T::positive(head.into()), rest);
    }
    if head == NULL {
        return found(T::unknown(), rest);
    }
    let (value, rest) = match head & !NEGATIVE {
        small @ 0..24 => (small.into(), rest),
        24 => tail(rest, |[byte]| byte.into())?,
        25 => tail(rest, |bytes| u16::from_be_bytes(bytes).into())?,
        26 => tail(rest, |bytes| u32::from_be_bytes(bytes).into())?,
        27 => tail(rest, u64::from_be_bytes)?,
        _ => return found(None, rest),
    };
    found(if head & NEGATIVE == 0 { T::positive(value) } else { T::negative(value) }, rest)
}

/// Decodes the bytes after the first byte of a number.
fn tail<const N: usize>(
    bytes: &[u8],
    value: impl Fn([u8; N]) -> u64,
) -> Result<(u64, &[u8]), Error> {
    let (number, rest) = bytes.split_first_chunk().ok_or_else(Error::end_of_input)?;
    Ok((value(*number), rest))
}

fn found<T>(number: Option<T>, rest: &[u8]) -> Result<(T, &[u8]), Error> {
    match number {
        Some(number) => Ok((number, rest)),
        None => Err(Error::message("a value that is not a number, or is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded<T: Number>(bytes: &[u8]) -> Result<Vec<T>, Error> {
        let mut decoder = Decoder::new(bytes);
        let numbers = decoder.decode_with::<_, Numbers<T>>(&mut Budget::new(1 << 20, 1 << 20))?;
        assert_eq!(decoder.position(), bytes.len());
        Ok(numbers.0)
    }

    /// Compares the decoder with the decoder of minicbor, for numbers of all sizes.
    fn compare<T>(numbers: &[T])
    where
        T: Number + Copy + PartialEq + std::fmt::Debug + Encode<()> + for<'b> Decode<'b, ()>,
    {
        let bytes = minicbor::to_vec(numbers.to_vec()).expect("memory takes all");
        assert_eq!(decoded::<T>(&bytes).expect("numbers"), numbers);
        for end in 0..bytes.len() {
            assert!(decoded::<T>(&bytes[..end]).is_err());
        }
        for place in 1..bytes.len().min(40) {
            for byte in 0..=u8::MAX {
                let mut changed = bytes.clone();
                changed[place] = byte;
                let mut decoder = Decoder::new(&changed);
                let expected = decoder.decode::<Vec<T>>().ok();
                let mut own = Decoder::new(&changed);
                let numbers = own.decode_with::<_, Numbers<T>>(&mut Budget::new(1 << 20, 1 << 20));
                let numbers = numbers.map(|numbers| numbers.0).ok();
                assert_eq!(numbers, expected, "{byte} at {place}");
                assert!(expected.is_none() || own.position() == decoder.position());
            }
        }
    }

    #[test]
    fn numbers_are_decoded_as_by_minicbor() {
        let sizes = [0, 1, 23, 24, 255, 256, 65_535, 65_536];
        let large = [u64::from(u32::MAX), 1 << 32, i64::MAX.cast_unsigned(), u64::MAX];
        let all: Vec<u64> = sizes.into_iter().chain(large).collect();
        let known = all.iter().copied().map(Some);
        compare(&known.chain([None]).collect::<Vec<Option<u64>>>());
        compare(&all.iter().filter_map(|&it| u32::try_from(it).ok()).collect::<Vec<_>>());
        let narrow = all.iter().map(|&it| u32::try_from(it).ok());
        compare(&narrow.collect::<Vec<Option<u32>>>());
        compare(&all.iter().map(|&it| u16::try_from(it).ok()).collect::<Vec<_>>());
        compare(&all.iter().map(|&it| u8::try_from(it).ok()).collect::<Vec<_>>());
        let signed = all.iter().map(|it| it.cast_signed());
        compare(&signed.flat_map(|it| [it, !it]).collect::<Vec<i64>>());
    }
}
