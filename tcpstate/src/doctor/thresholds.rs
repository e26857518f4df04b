//! The thresholds of the rules. The defaults are in `thresholds.toml`, which `--print-thresholds`
//! prints.

use std::ops::Range;

use serde::{Deserialize, Deserializer, de::Error as _};

/// The default thresholds: a TOML file with comments.
pub const DEFAULTS: &str = include_str!("thresholds.toml");

/// A fraction from 0 to 1, such as 0.6 for 60 %.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(D::Error::custom(format!("{share} is not a share: expected a number from 0 to 1")))
        }
    }
}

impl Share {
    /// Returns whether `part` divided by `whole` is at least this share.
    #[must_use]
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        whole > 0 && part as f64 >= self.0 * whole as f64
    }
}

macro_rules! sections {
    ($($(#[$note:meta])* $section:ident: $type:ident { $($name:ident: $kind:ty,)* })*) => {
        /// All thresholds. `thresholds.toml` describes each threshold.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "thresholds.toml documents them, for users too")]
        pub struct Thresholds {
            $(pub $section: $type,)*
        }

        $($(#[$note])*
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "thresholds.toml documents them, for users too")]
        pub struct $type {
            $(pub $name: $kind,)*
        })*

        /// The thresholds that a TOML file sets. A threshold that the file does not set is `None`.
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            $(#[serde(default)] $section: written::$type,)*
        }

        mod written {
            use super::*;
            $(
            #[derive(Default, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $type {
                $(pub(super) $name: Option<$kind>,)*
            })*
        }

        impl Thresholds {
            /// Returns these thresholds. Each threshold that the file of the user sets is replaced
            /// by the value in the file.
            fn overridden_by(self, written: &Written) -> Self {
                Self {
                    $($section: $type {
                        $($name: written.$section.$name.unwrap_or(self.$section.$name),)*
                    },)*
                }
            }

            /// Returns the thresholds of a file, or `None` if the file does not set all thresholds.
            fn whole(written: &Written) -> Option<Self> {
                Some(Self { $($section: $type { $($name: written.$section.$name?,)* },)* })
            }
        }
    };
}

sections! {
    /// The thresholds of the family `ports`.
    ports: Ports { used_warn: Share, used_crit: Share, forecast_warn: Share, }
    /// The thresholds of the family `time_wait`.
    time_wait: TimeWait {
        buckets_warn: Share,
        top_info: u64,
        short_share: Share,
        short_per_second: f64,
        short_seconds: f64,
        many_info: u64,
    }
    /// The thresholds of the family `close_wait`.
    close_wait: CloseWait {
        settled_seconds: u64,
        warn: u64,
        crit: u64,
        old_seconds: u64,
        old_warn: u64,
        files_crit: Share,
        never_accepted_warn: u64,
    }
    /// The thresholds of the family `syn`.
    syn: Syn { accept_queue_warn: Share, unanswered_warn: u64, unanswered_retransmits: u64, }
    /// The thresholds of the family `orphans`.
    orphans: Orphans {
        fin_wait2_seconds: u64,
        fin_wait2_warn: u64,
        used_warn: Share,
        last_ack_seconds: u64,
        last_ack_warn: u64,
    }
    /// The thresholds of the family `conntrack`.
    conntrack: Conntrack { used_warn: Share, used_crit: Share, }
    /// The thresholds of the family `resets`.
    resets: Resets { share_info: Share, at_least: u64, }
}

impl Default for Thresholds {
    fn default() -> Self {
        let written = toml::from_str(DEFAULTS).expect("a test parses the defaults");
        Self::whole(&written).expect("a test checks that the defaults are complete")
    }
}

/// An error in a file of thresholds. The error names the line and the column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Error {
    line: usize,
    column: usize,
    what: String,
}

impl Thresholds {
    /// Parses the text of the user's file. A threshold that the file does not set keeps its
    /// default.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let written = toml::from_str(text).map_err(|error| {
            let Range { start, .. } = error.span().unwrap_or_default();
            let before = text.get(..start).unwrap_or(text);
            let line_begins = before.rfind('\n').map_or(0, |at| at + 1);
            Error {
                line: before.matches('\n').count() + 1,
                column: before[line_begins..].chars().count() + 1,
                what: error.message().lines().collect::<Vec<_>>().join("; "),
            }
        })?;
        Ok(Self::default().overridden_by(&written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_can_be_parsed() {
        assert_eq!(Thresholds::parse(DEFAULTS), Ok(Thresholds::default()));
        assert_eq!(Thresholds::parse(""), Ok(Thresholds::default()));
    }

    #[test]
    fn a_file_overrides_only_the_thresholds_that_it_names() {
        let thresholds = Thresholds::parse("[close_wait]\nwarn = 7\n").expect("it is right");
        assert_eq!(thresholds.close_wait.warn, 7);
        assert_eq!(thresholds.close_wait.crit, Thresholds::default().close_wait.crit);
    }

    #[test]
    fn errors_name_the_line_and_the_column() {
        for (text, expected) in [
            ("[close_wait]\nwarm = 7\n", "line 2, column 1: unknown field `warm`, expected one of"),
            ("[closewait]\n", "line 1, column 2: unknown field `closewait`"),
            (
                "[ports]\nused_warn = 60\n",
                "line 2, column 13: 60 is not a share: expected a number",
            ),
            ("[ports]\nused_warn = nan\n", "line 2, column 13: NaN is not a share"),
            ("[close_wait]\nwarn = -1\n", "line 2, column 8: invalid value: integer `-1`"),
            ("[close_wait]\nwarn = \"7\"\n", "line 2, column 8: invalid type: string"),
            ("[close_wait]\nwarn = 7\nwarn = 8\n", "line 3, column 1: duplicate key"),
            ("é = 1", "line 1, column 1: "),
            ("[close_wait\n", "line 1, column 12: "),
        ] {
            let error = Thresholds::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn a_share_is_reached_at_its_exact_value() {
        assert!(Share(0.8).is_reached(80, 100));
        assert!(!Share(0.8).is_reached(79, 100));
        assert!(!Share(0.0).is_reached(0, 0));
    }
}
