//! What somebody may have meant who mistyped a name.

/// The names that are as near as any, if they are near enough: within one slip in three letters, or begun by the word.
/// Of those as near, the ones with the same first letter: people rarely miss that one.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let word = letters(word);
    // A third of the letters, and not more than a name of two letters can bear.
    let reach = (word.len() / 3).clamp(1, 3);
    let mut found: Vec<((usize, bool), &str)> = names
        .map(|name| {
            let letters = letters(name);
            let is_begun = word.len() >= 2 && letters.starts_with(&word);
            let slips = if is_begun { 0 } else { strsim::damerau_levenshtein(&word, &letters) };
            let begins_otherwise = letters.chars().next() != word.chars().next();
            ((slips, begins_otherwise), name)
        })
        .filter(|&((slips, _), _)| slips <= reach)
        .collect();
    let least = found.iter().map(|&(distance, _)| distance).min();
    found.retain(|&(distance, _)| Some(distance) == least);
    found.into_iter().map(|(_, name)| name).collect()
}

/// What is compared: neither case nor what joins the words of a name.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let names =
            ["TIME_WAIT", "FIN_WAIT1", "FIN_WAIT2", "CLOSE", "CLOSE_WAIT", "CLOSING", "P1", "T2"];
        for (word, expected) in [
            ("TIME_WIAT", &["TIME_WAIT"][..]),
            ("timewate", &["TIME_WAIT"]),
            ("CLOSEWAIT2", &["CLOSE_WAIT"]),
            ("fin-wait", &["FIN_WAIT1", "FIN_WAIT2"]),
            ("clos", &["CLOSE", "CLOSE_WAIT", "CLOSING"]),
            ("p2", &["P1"]),
            ("x2", &["T2"]),
            ("bananas", &[]),
            ("", &[]),
            ("-", &[]),
        ] {
            assert_eq!(nearest(word, names.into_iter()), expected, "{word}");
        }
    }
}
