//! Flags and parsers of values that several commands share.

use std::num::NonZeroU32;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{duration, help::ADVANCED};
use crate::{aggregate::Reconcile, probe::Netns};

/// The flag `--netns` of a command that traces one network namespace or all namespaces.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct NetnsFlag {
    /// Network namespace: NAME, pid:N, all
    ///
    /// Network namespace: self, all, NAME (as in `ip netns`), name:NAME, path:FILE or pid:N. With
    /// all, tcpstate counts the whole host.
    #[arg(long, value_name = "NETNS", default_value = "self")]
    pub(super) netns: Netns,
}

/// The flag `--max-audit-cpu` of a command that keeps gauges.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct AuditFlag {
    /// CPU time of audits [default: 0.1%]
    ///
    /// Largest share of one CPU for audits, in percent. An audit compares the gauges with the
    /// sockets in the kernel. In each pause of the traffic, one more audit of at most 100 ms is
    /// made. With 0, no audit is made, and gauges are not exact after SYN_RECV has changed.
    #[arg(long, value_name = "SHARE", default_value = "0.1%", hide_default_value = true, value_parser = percent, help_heading = ADVANCED)]
    pub(super) max_audit_cpu: f64,
}

/// Parses a share in percent. The result is the share as a fraction of 1.
fn percent(text: &str) -> Result<f64, &'static str> {
    const EXPECTED: &str = "expected a percentage from 0 to 100, such as 0.1%";
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent: f64 = number.parse().map_err(|_| EXPECTED)?;
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(EXPECTED) }
}

/// Returns a parser that accepts the name of each value in `all`.
pub(super) fn named<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(all.iter().map(|&value| name(value)));
    names.map(move |chosen| {
        *all.iter().find(|&&value| name(value) == chosen).expect("the parser lets no other through")
    })
}

/// Parses the number of entries of a map.
pub(super) fn entries(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 to 4294967295")
}

/// Parses the condition for scans: `auto`, `off` or an interval.
pub(super) fn reconcile(text: &str) -> Result<Reconcile, String> {
    match text {
        "auto" => Ok(Reconcile::Auto),
        "off" => Ok(Reconcile::Off),
        pace => duration::parse(pace)
            .map(Reconcile::Every)
            .map_err(|error| format!("{error}; or auto, or off")),
    }
}

/// Parses a size in bytes.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a size such as 500k, 100M or 2G, of at least 64k";
    const UNITS: [(char, u32); 3] = [('k', 10), ('M', 20), ('G', 30)];
    const SMALLEST: u64 = 64 << 10;
    let unit = UNITS.iter().find_map(|&(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number: u64 = digits.parse().map_err(|_| EXPECTED)?;
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| bytes >= SMALLEST);
    bytes.ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        for (text, share) in [("0.1%", 0.001), ("0.1", 0.001), ("0", 0.0), ("100 %", 1.0)] {
            assert_eq!(percent(text), Ok(share), "{text}");
        }
        for text in ["", "-1", "101%", "NaN", "inf", "a%", "%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        for (text, bytes) in
            [("65536", 65_536), ("64k", 65_536), ("100M", 104_857_600), ("2G", 1 << 31)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["0", "63k", "-1M", "1.5G", "M", "10 M", "99999999999999999999", "17179869184G"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
