//! Converts numbers and times to text for people.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// The text of an unknown number.
pub(super) const UNKNOWN: &str = "-";

/// Returns a number with commas, for example `46,807`.
pub(super) fn grouped(count: u64) -> String {
    group(&count.to_string())
}

/// Returns a signed number with commas, for example `46,807` or `-3`.
pub(super) fn signed(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(count.unsigned_abs()))
}

/// Returns a change with its sign, for example `+3`, `-3` or `0`.
pub(super) fn change(by: i64) -> String {
    let plus = if by > 0 { "+" } else { "" };
    format!("{plus}{}", signed(by))
}

/// Returns a number with one decimal, for example `1,482.1` or `-0.5`.
pub(super) fn decimal(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    let text = format!("{:.1}", number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    format!("{sign}{}.{fraction}", group(whole))
}

/// Returns a share as a percentage, for example `17.9 %`. A small share keeps two significant
/// figures.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = match percent {
        0.0 => 1,
        ..0.01 => 4,
        ..0.1 => 3,
        ..1.0 => 2,
        _ => 1,
    };
    format!("{percent:.decimals$} %")
}

/// Returns a count per second. Returns `None` if no time has passed.
pub(super) fn rate(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| count as f64 / seconds)
}

/// Returns a change per second. Returns `None` if no time has passed.
pub(super) fn signed_rate(change: i64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| change as f64 / seconds)
}

/// Returns a known number as text, or `-` for an unknown number.
pub(super) fn or_unknown<T>(number: Option<T>, show: impl Fn(T) -> String) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Returns a long duration as text: `4.1 s`, `2m 03s`, `1h 02m 03s`, `12d 01h 02m`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {:02}m {:02}s", minutes % 60, seconds % 60),
        _ => format!("{days}d {:02}h {:02}m", hours % 24, minutes % 60),
    }
}

/// Returns a duration with about three figures in at most seven characters: `48 us`, `12.3 ms`,
/// `1.23 s`, `2m 03s`.
pub(super) fn span(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (divisor, unit) = match nanos {
        0..1000 => return format!("{nanos} ns"),
        1000..1_000_000 => (1e3, "us"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ if time.as_secs() < 100 => (1e9, "s"),
        _ => return long_span(time.as_secs()),
    };
    let number = nanos as f64 / divisor;
    let decimals = match number {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

fn long_span(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        86_400..8_640_000 => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Returns a number with its noun, for example `1 event` or `2 events`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let (number, plural) = (grouped(count), if count == 1 { "" } else { "s" });
    format!("{number} {noun}{plural}")
}

/// Returns the time of day in UTC.
pub(super) fn clock(time: SystemTime) -> String {
    formatted(time, "%H:%M:%SZ")
}

/// Returns the day and the time in UTC.
pub(super) fn date(time: SystemTime) -> String {
    formatted(time, "%Y-%m-%d %H:%M:%SZ")
}

/// Returns a time in UTC as RFC 3339 with milliseconds, for programs.
pub(super) fn rfc3339(time: SystemTime) -> String {
    // The default format of the crate `jiff` is much faster than a format string.
    format!("{:.3}", timestamp(time))
}

/// Formats times as [`rfc3339`] does, and stores the last text. If the next time is in the same
/// second, only the milliseconds are formatted again.
#[derive(Debug, Default)]
pub(super) struct Rfc3339 {
    /// The second that `text` shows, as seconds since 1970.
    second: Option<u64>,
    text: Vec<u8>,
}

impl Rfc3339 {
    pub(super) fn of(&mut self, time: SystemTime) -> &str {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).ok();
        std::str::from_utf8(self.bytes(time, since_1970)).expect("a time is text")
    }

    /// Returns the text of a time. `since_1970` is the time since 1970, or `None` for an earlier
    /// time.
    pub(super) fn bytes(&mut self, time: SystemTime, since_1970: Option<Duration>) -> &[u8] {
        let second = since_1970.map(|since_1970| since_1970.as_secs());
        match (since_1970, &mut self.text[..]) {
            // The year has four digits.
            (Some(since_1970), [.., b'.', hundreds, tens, ones, b'Z']) if second == self.second => {
                let millis = since_1970.subsec_millis();
                let digit = |number: u32| b'0' + (number % 10) as u8;
                (*hundreds, *tens, *ones) =
                    (digit(millis / 100), digit(millis / 10), digit(millis));
            }
            _ => self.text = rfc3339(time).into_bytes(),
        }
        self.second = second;
        &self.text
    }
}

fn formatted(time: SystemTime, format: &str) -> String {
    timestamp(time).strftime(format).to_string()
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Inserts commas between groups of three digits.
fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        for (count, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (46_807, "46,807"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(count), text);
        }
        assert_eq!(
            (signed(-1234), change(1234), change(0)),
            ("-1,234".into(), "+1,234".into(), "0".into())
        );
        assert_eq!(
            (decimal(1482.13), decimal(0.0), decimal(999.96), decimal(-123.4)),
            ("1,482.1".into(), "0.0".into(), "1,000.0".into(), "-123.4".into())
        );
    }

    #[test]
    fn a_small_share_is_not_shown_as_0() {
        for (share, text) in [
            (0.0, "0.0 %"),
            (0.000_012, "0.0012 %"),
            (0.000_47, "0.047 %"),
            (0.004_7, "0.47 %"),
            (0.179, "17.9 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn times_in_sequence_are_formatted_like_single_times() {
        let mut times = Rfc3339::default();
        for nanos in [0, 1, 999_999, 1_000_000, 999_999_999, 1_000_000_000, 61_234_567_890] {
            let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_521_600);
            for time in [noon + Duration::from_nanos(nanos), noon - Duration::from_nanos(nanos)] {
                assert_eq!(times.of(time), rfc3339(time));
            }
        }
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        for time in [before_1970, SystemTime::UNIX_EPOCH, before_1970] {
            assert_eq!(times.of(time), rfc3339(time));
        }
    }

    #[test]
    fn a_span_has_three_figures_and_fits_a_column_of_seven() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (55_340, "55.3 us"),
            (999_999, "1000 us"),
            (12_345_678, "12.3 ms"),
            (1_234_000_000, "1.23 s"),
            (99_900_000_000, "99.9 s"),
            (123_000_000_000, "2m 03s"),
            (3_723_000_000_000, "1h 02m"),
            (1_040_520_000_000_000, "12d 01h"),
            (8_640_000_000_000_000, "100 d"),
        ] {
            let shown = span(Duration::from_nanos(nanos));
            assert_eq!(shown, text);
            assert!(shown.len() <= 7, "{shown}");
        }
    }

    #[test]
    fn durations_keep_their_two_or_three_largest_units() {
        for (seconds, text) in [
            (4.06, "4.1 s"),
            (123.9, "2m 03s"),
            (3723.0, "1h 02m 03s"),
            (1_040_520.0, "12d 01h 02m"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(
            (counted(1, "event"), counted(2000, "event")),
            ("1 event".into(), "2,000 events".into())
        );
    }
}
