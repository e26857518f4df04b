//! Parsers for values that flags of several commands have.

use std::num::NonZeroU32;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::duration;
use crate::aggregate::Reconcile;

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
