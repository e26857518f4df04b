//! `--family 4|6|all`, as `ss -4` and `ss -6` have it.

use crate::report::Family;

/// One family, or both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice(pub(super) Option<Family>);

/// Parses the flag's value.
pub(super) fn parse(text: &str) -> Result<Choice, &'static str> {
    match text {
        "4" => Ok(Choice(Some(Family::V4))),
        "6" => Ok(Choice(Some(Family::V6))),
        "all" => Ok(Choice(None)),
        _ => Err("expected 4, 6 or all"),
    }
}
