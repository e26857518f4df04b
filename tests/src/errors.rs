//! The rows of `docs/ERRORS.md`. Tests compare the printed errors with these rows.

use tcpstate::error::Help as _;

use crate::command::Finished;

const TABLE: &str = include_str!("../../docs/ERRORS.md");

/// One error with its cause and its help.
#[derive(Clone, Debug)]
pub struct Row {
    /// The situation that causes the error.
    pub trigger: String,
    /// The text after `tcpstate: `. `…` matches any text.
    pub cause: String,
    /// The text after `help: `.
    pub help: String,
    /// The exit status.
    pub status: i32,
    /// The test that provokes the error.
    pub test: String,
}

impl Row {
    /// All rows of all tables.
    #[must_use]
    pub fn all() -> Vec<Self> {
        TABLE.lines().filter_map(Self::parse).collect()
    }

    /// The row of a test.
    ///
    /// # Panics
    /// If there is not exactly one row.
    #[must_use]
    pub fn of(test: &str) -> Self {
        let mut rows = Self::all();
        rows.retain(|row| row.test == test);
        assert_eq!(rows.len(), 1, "rows of {test}");
        rows.remove(0)
    }

    fn parse(line: &str) -> Option<Self> {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let mut cells = cells.map(|cell| cell.trim_matches('`').trim().to_owned());
        let mut next = || cells.next();
        let (trigger, cause, help) = (next()?, next()?, next()?);
        // The heading has no number in this column.
        let (status, test) = (next()?.parse().ok()?, next()?);
        Some(Self { trigger, cause, help, status, test })
    }

    /// Asserts that a run printed this error and exited with this status.
    ///
    /// # Panics
    /// If it did not.
    pub fn assert(&self, run: &Finished) {
        let lines: Vec<&str> = run.stderr.lines().collect();
        let says = |prefix: &str, pattern: &str| {
            let said = lines.iter().filter_map(|line| line.strip_prefix(prefix));
            said.into_iter().any(|said| matches(pattern, said))
        };
        let context = format!("{self:#?}\n{run:#?}");
        assert_eq!(run.status, Some(self.status), "{context}");
        assert!(says("tcpstate: ", &self.cause), "{context}");
        assert!(says("help: ", &self.help), "{context}");
        if self.status == 2 {
            assert_eq!((lines.len(), run.stdout.as_str()), (2, ""), "{context}");
        }
    }

    /// Asserts that an error and its help match this row.
    ///
    /// # Panics
    /// If they do not.
    pub fn assert_error(&self, error: &tcpstate::probe::Error) {
        assert!(matches(&self.cause, &error.to_string()), "{self:#?}: {error}");
        assert!(matches(&self.help, &error.help()), "{self:#?}: {}", error.help());
    }
}

/// Whether a text matches a pattern, in which `…` matches any text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('…') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_the_whole_text() {
        for (pattern, text, like) in [
            ("as it is", "as it is", true),
            ("as it", "as it is", false),
            ("…is", "as it is", true),
            ("as … is", "as it is", true),
            ("as…", "as it is", true),
            ("…s…", "as it is", true),
            ("as … was", "as it is", false),
            ("…", "", true),
        ] {
            assert_eq!(matches(pattern, text), like, "{pattern}: {text}");
        }
    }

    #[test]
    fn cell_may_contain_nested_code() {
        let row =
            Row::parse("| no field | `no … field` | ``report `uname -r` `` | 2 | `error_x` |");
        let row = row.expect("it is a row");
        assert_eq!((row.cause.as_str(), row.help.as_str()), ("no … field", "report `uname -r`"));
        assert_eq!((row.status, row.test.as_str()), (2, "error_x"));
        assert!(Row::parse("|---|---|---|---|---|").is_none());
    }
}
