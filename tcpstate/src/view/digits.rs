//! Appends numbers to a buffer, with the characters that `serde_json` writes. An event line has
//! about ten numbers, so the functions of this module avoid calls and branches.

use std::time::Duration;

/// The number of digits that are computed at once.
const DIGITS: u64 = 100_000_000;

/// Appends an integer.
pub(super) fn append_integer(number: u64, text: &mut Vec<u8>) {
    if number < DIGITS {
        return append_short(number, text);
    }
    append_integer(number / DIGITS, text);
    append_all(number % DIGITS, text);
}

/// Appends a duration in seconds.
pub(super) fn append_seconds(duration: Duration, text: &mut Vec<u8>) {
    /// Shorter durations have at most 15 digits in nanoseconds. Each decimal number of at most 15
    /// digits has its own `f64`. So the shortest text of this `f64` is the decimal number.
    const EXACT: u64 = 1_000_000;
    /// Smaller numbers of nanoseconds have an exponent in the text.
    const SMALL: u64 = 10_000;
    let (seconds, nanos) = (duration.as_secs(), u64::from(duration.subsec_nanos()));
    let number = duration.as_secs_f64();
    // The sum of seconds and nanoseconds may be rounded twice.
    let nearest = || (seconds * 1_000_000_000 + nanos) as f64 / 1e9;
    let is_exact = || nearest().to_bits() == number.to_bits();
    if seconds >= EXACT || (seconds > 0 && !is_exact()) {
        append_float(number, text);
    } else if seconds == 0 && (1..SMALL).contains(&nanos) {
        append_exponent(nanos, text);
    } else {
        append_integer(seconds, text);
        text.push(b'.');
        append_fraction(nanos, text);
    }
}

/// Appends a number that is not infinite.
pub(super) fn append_float(number: f64, text: &mut Vec<u8>) {
    serde_json::to_writer(text, &number).expect("a vector accepts every number");
}

/// Appends the digits after the decimal point, without zeros at the end.
fn append_fraction(nanos: u64, text: &mut Vec<u8>) {
    let (first, last) = (nanos / 10, nanos % 10);
    append_all(first, text);
    if last > 0 {
        text.push(ascii(last));
    } else {
        // One digit stays.
        let zeros = (digits(first) | 1).leading_zeros() / 8;
        text.truncate(text.len() - zeros as usize);
    }
}

/// Appends a number of nanoseconds in seconds, with an exponent.
fn append_exponent(nanos: u64, text: &mut Vec<u8>) {
    let exponent = 9 - nanos.ilog10();
    let mut digits = nanos;
    while digits.is_multiple_of(10) {
        digits /= 10;
    }
    let begin = text.len();
    append_short(digits, text);
    if digits >= 10 {
        text.insert(begin + 1, b'.');
    }
    text.extend_from_slice(b"e-");
    text.push(ascii(exponent.into()));
}

/// Appends a number of at most 8 digits.
fn append_short(number: u64, text: &mut Vec<u8>) {
    let digits = digits(number);
    // One digit stays.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    let shown = (digits | ZEROS) >> (8 * zeros);
    // A copy of a constant size needs no call.
    text.extend_from_slice(&shown.to_le_bytes());
    text.truncate(text.len() - zeros as usize);
}

/// Appends 8 digits.
fn append_all(number: u64, text: &mut Vec<u8>) {
    text.extend_from_slice(&(digits(number) | ZEROS).to_le_bytes());
}

/// The text `00000000`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Returns 8 decimal digits as bytes, the first digit in the lowest byte. Each step splits all
/// parts of the number in two.
fn digits(number: u64) -> u64 {
    let of_four = (number / 10_000) | ((number % 10_000) << 32);
    // The multiplication and the shift divide each part by 100, and by 10 in the second step.
    let hundreds = ((of_four * 10_486) >> 20) & 0x7f_0000_007f;
    let of_two = hundreds | ((of_four - 100 * hundreds) << 16);
    let tens = ((of_two * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((of_two - 10 * tens) << 8)
}

fn ascii(digit: u64) -> u8 {
    b'0' + (digit % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(append: impl Fn(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        append(&mut text);
        String::from_utf8(text).expect("numbers are text")
    }

    /// Returns numbers of all sizes.
    fn numbers() -> impl Iterator<Item = u64> {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let near = powers.flat_map(|it| [it - 1, it, it + 1, it.saturating_mul(9)]);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let random = std::iter::repeat_with(move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> (random % 64)
        });
        near.chain([u64::MAX]).chain(random.take(200_000))
    }

    #[test]
    fn integers_have_their_digits() {
        for number in numbers() {
            assert_eq!(text(|text| append_integer(number, text)), number.to_string());
        }
    }

    #[test]
    fn seconds_are_equal_to_the_text_of_serde_json() {
        let assert_equal = |nanos| {
            let duration = Duration::from_nanos(nanos);
            let expected = serde_json::to_string(&duration.as_secs_f64()).expect("a number");
            assert_eq!(text(|text| append_seconds(duration, text)), expected, "{nanos} ns");
        };
        (0..20_000).for_each(assert_equal);
        for nanos in numbers() {
            assert_equal(nanos);
            assert_equal(nanos / 1000 * 1000);
            assert_equal(nanos % 10_000_000_000);
            assert_equal(nanos % 1_000_000_000_000_000);
        }
    }
}
