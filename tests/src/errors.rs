//! The entries of `docs/ERRORS.md`. Tests compare the printed errors with the entries of
//! `docs/ERRORS.md`.

use tcpstate::error::Help as _;

use crate::command::Finished;

const ENTRIES: &str = include_str!("../../docs/ERRORS.md");

/// An entry of docs/ERRORS.md: one error with its cause and its help.
#[derive(Clone, Debug)]
pub struct Row {
    /// The situation that causes the error.
    pub trigger: String,
    /// The text after `tcpstate: `. The character `…` matches any text.
    pub cause: String,
    /// The text after `help: `.
    pub help: String,
    /// The exit status.
    pub status: i32,
    /// The test that provokes the error.
    pub test: String,
}

impl Row {
    /// All entries of all sections.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let blocks = ENTRIES.split("```text\n").skip(1).filter_map(|part| part.split("```").next());
        let entries = blocks.flat_map(|block| block.split("\n\n")).map(str::trim);
        let parsed = entries.map(|entry| {
            Self::parse(entry).unwrap_or_else(|| panic!("not an entry of docs/ERRORS.md: {entry}"))
        });
        parsed.collect()
    }

    /// Returns the row of docs/ERRORS.md that names this test.
    ///
    /// # Panics
    /// Panics if docs/ERRORS.md does not have exactly one row with this test.
    #[must_use]
    pub fn of(test: &str) -> Self {
        let mut rows = Self::all();
        rows.retain(|row| row.test == test);
        assert_eq!(rows.len(), 1, "rows of {test}");
        rows.remove(0)
    }

    fn parse(entry: &str) -> Option<Self> {
        // A line that begins with two spaces continues the line above.
        let joined = entry.replace("\n  ", " ");
        let mut lines = joined.lines();
        let trigger = lines.next()?;
        let trigger = trigger.strip_prefix("$ ").or_else(|| trigger.strip_prefix("# "))?;
        let cause = lines.next()?.strip_prefix("tcpstate: ")?;
        let help = lines.next()?.strip_prefix("help: ")?;
        let (status, test) = lines.next()?.strip_prefix("status ")?.split_once(", ")?;
        let [trigger, cause, help, test] = [trigger, cause, help, test].map(str::to_owned);
        Some(Self { trigger, cause, help, status: status.parse().ok()?, test })
    }

    /// Asserts that a run printed this error and exited with the entry's status.
    ///
    /// # Panics
    /// Panics if the error or the exit status differs.
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

    /// Asserts that an error and its help match this entry.
    ///
    /// # Panics
    /// Panics if the error or its help does not match the row.
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
    fn entry_has_four_lines_some_of_which_continue() {
        let entry = "$ tcpstate trace --x 1\ntcpstate: cannot use --x:\n  it is new\nhelp: leave it out\nstatus 2, error_x";
        let row = Row::parse(entry).expect("it is an entry");
        assert_eq!(row.trigger, "tcpstate trace --x 1");
        assert_eq!(
            (row.cause.as_str(), row.help.as_str()),
            ("cannot use --x: it is new", "leave it out")
        );
        assert_eq!((row.status, row.test.as_str()), (2, "error_x"));
        assert!(Row::parse("tcpstate: cannot use --x: it is new").is_none());
    }
}
