//! Parses durations such as `500ms`, `2s` and `1h30m`. A number without a unit is in seconds and
//! may have a fraction.

use std::time::Duration;

use jiff::SignedDuration;

/// The longest accepted duration: 100 years. A clock can represent the current time plus 100 years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The shortest interval. The kernel needs about 10 ms for each reading.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Parses a duration above zero.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let is_bare = text.ends_with(|last: char| last.is_ascii_digit());
    let with_unit = if is_bare { format!("{text}s") } else { text.to_owned() };
    let signed = match with_unit.parse::<SignedDuration>() {
        Ok(signed) => signed,
        Err(_) if is_number(text) => return Err(too_long()),
        Err(_) => {
            return Err("expected a duration such as 500ms, 2s, 1h30m or 0.5 (seconds)".to_owned());
        }
    };
    match Duration::try_from(signed) {
        Err(_) => Err("a duration must not be negative".to_owned()),
        Ok(Duration::ZERO) => Err("a duration must be longer than zero".to_owned()),
        Ok(duration) if duration > LONGEST => Err(too_long()),
        Ok(duration) => Ok(duration),
    }
}

fn too_long() -> String {
    "a duration must not be longer than 100 years".to_owned()
}

/// Returns whether a text is a number with or without a unit. The library refuses a number only if
/// the number is too large.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_lowercase());
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && ["", "ms", "s", "m", "h"].contains(&&text[digits.len()..])
}

/// Parses an interval of at least `SHORTEST_INTERVAL`.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        interval if interval < SHORTEST_INTERVAL => {
            Err("an interval must be at least 50ms".to_owned())
        }
        interval => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1m30s", 90_000),
            ("0.5", 500),
            ("3", 3000),
            ("1.5s", 1500),
            ("1.5h", 5_400_000),
            ("0.05", 50),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn wrong_durations_are_refused_with_a_reason() {
        for (text, reason) in [
            ("0", "longer than zero"),
            ("0s", "longer than zero"),
            ("-1s", "negative"),
            ("-1", "negative"),
            ("nan", "expected a duration"),
            ("inf", "expected a duration"),
            ("", "expected a duration"),
            ("s", "expected a duration"),
            ("-", "expected a duration"),
            ("2 weeks", "expected a duration"),
            ("1d", "expected a duration"),
            ("1e30", "expected a duration"),
            ("1x", "expected a duration"),
            ("1s2", "expected a duration"),
            ("12:00:00", "expected a duration"),
            ("99999999999999999999999", "100 years"),
            ("99999999999999999999999h", "100 years"),
            ("3153600001", "100 years"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(parse_interval("49ms").expect_err("49ms").contains("at least 50ms"));
        assert_eq!(parse_interval("50ms"), Ok(Duration::from_millis(50)));
    }
}
