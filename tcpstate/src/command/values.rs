//! Flags and parsers of values that several commands share.

use std::num::NonZeroU32;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::duration;
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
