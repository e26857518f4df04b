//! The terminal on stdout, if there is one.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _},
};

use super::color::{self, Color};
use crate::view::{Size, TerminalCaps};

/// Returns the capabilities of the terminal. Returns `None` if stdout is not a terminal, or if the
/// terminal cannot be repainted.
pub(super) fn caps() -> Option<TerminalCaps> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let mut caps = look_of(|name| env::var_os(name).filter(|value| !value.is_empty()))?;
    match color::choice() {
        Color::Auto => {}
        Color::Always => caps.coloured = true,
        Color::Never => caps.coloured = false,
    }
    Some(caps)
}

/// Returns whether text that is not repainted has colours.
pub(super) fn is_coloured() -> bool {
    match color::choice() {
        Color::Auto => caps().is_some_and(|caps| caps.coloured),
        Color::Always => true,
        Color::Never => false,
    }
}

fn look_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<TerminalCaps> {
    variable("TERM").filter(|term| term != "dumb")?;
    // The first of these environment variables that is set determines the locale, as in
    // setlocale(3).
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(&variable);
    let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
    Some(TerminalCaps {
        coloured: variable("NO_COLOR").is_none(),
        unicode: ["utf-8", "utf8"].iter().any(|name| locale.contains(name)),
    })
}

/// Returns the current size of the terminal.
pub(super) fn size() -> Size {
    // A serial terminal may not report its size.
    const USUAL: Size = Size { columns: 80, rows: 24 };
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(USUAL, |(width, height)| Size { columns: width.0, rows: height.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_how_a_terminal_looks() {
        let caps = |variables: &[(&str, &str)]| {
            look_of(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let seen = |coloured, unicode| Some(TerminalCaps { coloured, unicode });
        for (variables, expected) in [
            (&[][..], None),
            (&[("TERM", "dumb")], None),
            (&[("TERM", "xterm")], seen(true, false)),
            (&[("TERM", "xterm"), ("LANG", "C.UTF-8")], seen(true, true)),
            (&[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("LC_ALL", "C")], seen(true, false)),
            (
                &[("TERM", "linux"), ("LC_CTYPE", "en_US.utf8"), ("NO_COLOR", "1")],
                seen(false, true),
            ),
        ] {
            assert_eq!(caps(variables), expected, "{variables:?}");
        }
    }
}
