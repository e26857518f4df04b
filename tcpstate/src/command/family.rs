//! The flag `--family 4|6|all`. The values 4 and 6 select the sockets that `ss -4` and `ss -6`
//! show.

use crate::report::Family;

/// One IP family, or `None` for both families.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice(pub(super) Option<Family>);

/// Parses the value of `--family`.
pub(super) fn parse(text: &str) -> Result<Choice, &'static str> {
    match text {
        "4" => Ok(Choice(Some(Family::V4))),
        "6" => Ok(Choice(Some(Family::V6))),
        "all" => Ok(Choice(None)),
        _ => Err("expected 4, 6 or all"),
    }
}
