//! `--from` and `--until`: the part of a recording to show.

use std::{
    cmp::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use jiff::{Timestamp, tz::TimeZone};

use super::{duration, help::INPUT};

/// The part of a recording to show.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct Span {
    /// Start of the replay, such as 5m or 14:09:23Z
    ///
    /// Start of the replay: a time after the start of the recording such as 90s or 5m, a time of
    /// day such as 14:09:23Z, seconds since 1970 such as 1795994656, or a date such as
    /// 2026-11-24T14:09:23Z. A time of day is the first one after the start of the recording.
    #[arg(long, value_name = "WHEN", requires = "replay", value_parser = parse_when, help_heading = INPUT)]
    from: Option<When>,

    /// End of the replay, such as 6m
    ///
    /// End of the replay: a time after the start of the recording, such as 90s or 5m, or a date
    /// such as 2026-11-24T14:09:23Z.
    #[arg(long, value_name = "WHEN", requires = "replay", value_parser = parse_when, help_heading = INPUT)]
    until: Option<When>,
}

impl Span {
    /// Returns whether a time is before, inside or after this part of the recording. `start` is the
    /// time at which the recording starts.
    pub(super) fn place(&self, start: SystemTime, time: SystemTime) -> Ordering {
        if self.from.is_some_and(|from| time < from.after(start)) {
            Ordering::Less
        } else if self.until.is_some_and(|until| time >= until.after(start)) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

/// A time in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The time since the start of the recording.
    After(Duration),
    At(SystemTime),
    /// The time of day, since midnight in UTC.
    OfDay(Duration),
}

/// Numbers from here on are seconds since 1970. The number stands for a time in the year 2001.
const FIRST_UNIX_SECOND: f64 = 1e9;

/// Numbers up to here are seconds after the start of the recording: three years.
const LAST_SECOND: f64 = 1e8;

/// The number of seconds of a day.
const DAY: u64 = 24 * 3600;

fn parse_when(text: &str) -> Result<When, String> {
    if let Some(time) = text.parse::<Timestamp>().ok().and_then(|time| time.try_into().ok()) {
        return Ok(When::At(time));
    }
    if let Some(number) = text.strip_prefix('@') {
        return unix_time(number.parse().map_err(|_| "expected seconds since 1970 after @")?);
    }
    let is_of_digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if let Some(number) = text.parse().ok().filter(|_| is_of_digits)
        && number > LAST_SECOND
    {
        if number < FIRST_UNIX_SECOND {
            return Err("is it a time after the start, as in 5m, or since 1970, as in @5?".into());
        }
        return unix_time(number);
    }
    if text.contains(':') {
        return time_of_day(text, is_utc_here());
    }
    let after = duration::parse(text).map(When::After);
    after.map_err(|error| {
        format!("{error}; or 14:09:23Z, or 2026-11-24T14:09:23Z, or seconds since 1970")
    })
}

/// Converts seconds since 1970.
fn unix_time(seconds: f64) -> Result<When, String> {
    /// The largest accepted number, which stands for a time in the year 2286.
    const LAST: f64 = 1e10;
    if !(0.0..LAST).contains(&seconds) {
        return Err("expected seconds since 1970, not milliseconds or less".to_owned());
    }
    Ok(When::At(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
}

/// Returns whether the local time is UTC.
fn is_utc_here() -> bool {
    TimeZone::system().to_offset(Timestamp::now()).is_zero()
}

/// Parses a time of day as the tables show it. Snapshots have times in UTC with a Z, and events
/// have local times. Without a Z, the time is ambiguous unless the local time is UTC.
fn time_of_day(text: &str, is_utc_here: bool) -> Result<When, String> {
    const EXPECTED: &str = "expected a time of day such as 14:09:23Z, with seconds";
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let [hours, minutes, seconds] =
        digits.split(':').collect::<Vec<_>>().try_into().map_err(|_| EXPECTED)?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |text: &str, end| {
        let is_valid = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&number: &u64| is_valid && number < end)
    };
    let [hours, minutes, whole] = [(hours, 24), (minutes, 60), (whole, 60)]
        .map(|(text, end)| number(text, end))
        .map(|number| number.ok_or(EXPECTED));
    let nanos = format!("{fraction:0<9}");
    let is_valid = !fraction.is_empty() && nanos.len() == 9;
    let nanos: u32 = nanos.parse().ok().filter(|_| is_valid).ok_or(EXPECTED)?;
    if digits == text && !is_utc_here {
        return Err(format!(
            "is it local time or UTC? add Z for UTC, as in {text}Z, or write 2026-11-24T{text}+01:00"
        ));
    }
    Ok(When::OfDay(Duration::new((hours? * 60 + minutes?) * 60 + whole?, nanos)))
}

impl When {
    fn after(self, start: SystemTime) -> SystemTime {
        match self {
            Self::After(duration) => start + duration,
            Self::At(time) => time,
            Self::OfDay(time) => {
                // Tables show whole seconds, so the second of the start counts as a whole.
                let start = start.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let today = Duration::from_secs(start - start % DAY) + time;
                let is_over = today.as_secs() < start;
                UNIX_EPOCH + today + Duration::from_secs(if is_over { DAY } else { 0 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> When {
        When::At(UNIX_EPOCH + Duration::from_secs_f64(seconds))
    }

    #[test]
    fn times_are_parsed_as_they_are_shown() {
        for (text, when) in [
            ("90s", When::After(Duration::from_secs(90))),
            ("90", When::After(Duration::from_secs(90))),
            ("5m", When::After(Duration::from_secs(300))),
            ("100000000", When::After(Duration::from_secs(100_000_000))),
            ("1795994656", at(1_795_994_656.0)),
            ("1795994656.25", at(1_795_994_656.25)),
            ("@1795994656", at(1_795_994_656.0)),
            ("@5", at(5.0)),
            ("2026-11-29T23:24:16Z", at(1_795_994_656.0)),
            ("2026-11-29 23:24:16Z", at(1_795_994_656.0)),
            ("2026-11-30T00:24:16+01:00", at(1_795_994_656.0)),
            ("00:00:00Z", When::OfDay(Duration::ZERO)),
            ("23:24:16Z", When::OfDay(Duration::from_secs(84_256))),
            ("23:24:16.5Z", When::OfDay(Duration::from_millis(84_256_500))),
        ] {
            assert_eq!(parse_when(text), Ok(when), "{text}");
        }
    }

    #[test]
    fn ambiguous_and_wrong_times_are_refused_with_help() {
        for (text, reason) in [
            ("100000001", "@5"),
            ("999999999", "since 1970"),
            ("1795994656000", "not milliseconds"),
            ("@1795994656000", "not milliseconds"),
            ("@", "seconds since 1970 after @"),
            ("@-5", "since 1970"),
            ("@nan", "since 1970"),
            ("12:00", "with seconds"),
            ("24:00:00Z", "14:09:23Z"),
            ("12:60:00Z", "14:09:23Z"),
            ("1:00:00Z", "14:09:23Z"),
            ("+1:00:00Z", "14:09:23Z"),
            ("12:00:00.Z", "14:09:23Z"),
            ("12:00:00.1234567890Z", "14:09:23Z"),
            ("12:00:00:00Z", "14:09:23Z"),
            ("noon", "14:09:23Z"),
            ("", "14:09:23Z"),
            ("-5", "negative"),
        ] {
            let error = parse_when(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = time_of_day("23:24:16", false).expect_err("the zone is not UTC");
        assert!(error.contains("23:24:16Z"), "{error}");
        let expected = Ok(When::OfDay(Duration::from_millis(84_256_123)));
        assert_eq!(time_of_day("23:24:16.123", true), expected);
    }

    #[test]
    fn time_of_day_is_the_first_one_after_the_start() {
        let start = UNIX_EPOCH + Duration::from_millis(1_795_994_656_900);
        for (text, seconds) in [
            ("23:24:16Z", 1_795_994_656),
            ("23:24:17Z", 1_795_994_657),
            ("23:24:15Z", 1_795_994_655 + 86_400),
            ("00:00:00Z", 1_795_996_800),
        ] {
            let when = parse_when(text).expect(text);
            assert_eq!(when.after(start), UNIX_EPOCH + Duration::from_secs(seconds), "{text}");
        }
    }
}
