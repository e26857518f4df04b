//! Durations as people type them: `500ms`, `2s`, `1m`; a bare number is seconds, fractions allowed.

use std::time::Duration;

/// A hundred years: what a clock shows after them is still a time.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Parses a duration above zero.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let number_ends = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let unit = if unit.is_empty() { "s" } else { unit };
    let seconds = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| seconds);
    let number = number.parse::<f64>().ok();
    let (Some(seconds), Some(number)) = (seconds, number) else {
        return Err("expected a duration such as 500ms, 2s, 1m or 0.5 (seconds)".into());
    };
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration > LONGEST => Err("is too long".into()),
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        Ok(_) => Err("must be longer than zero".into()),
        Err(_) if number < 0.0 => Err("must not be negative".into()),
        Err(_) => Err("is too long".into()),
    }
}

/// Parses an interval, which has a shortest length: a reading takes the kernel some ten milliseconds.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(50);
    match parse(text)? {
        interval if interval < SHORTEST => Err("must be at least 50ms".into()),
        interval => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2000),
            ("1m", 60_000),
            ("0.5", 500),
            ("3", 3000),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, reason) in [
            ("0", "longer than zero"),
            ("-1s", "negative"),
            ("nan", "expected a duration"),
            ("inf", "expected a duration"),
            ("", "expected a duration"),
            ("s", "expected a duration"),
            ("2 weeks", "expected a duration"),
            ("1e30", "expected a duration"),
            ("99999999999999999999999", "too long"),
            ("3153600001", "too long"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(parse_interval("49ms").expect_err("49ms").contains("at least 50ms"));
        assert_eq!(parse_interval("50ms"), Ok(Duration::from_millis(50)));
    }
}
