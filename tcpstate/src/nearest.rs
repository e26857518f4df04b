//! Suggestions for a mistyped name.

/// The maximum number of suggestions. A longer list of suggestions does not help the user.
const MAX_SUGGESTIONS: usize = 3;

/// Returns the names that are most similar to the word.
///
/// A name is similar if the name begins with the word, or if the word has at most one typing error
/// per three letters. If several names are equally similar, the function prefers names whose first
/// letter is also the first letter of the word. People rarely mistype the first letter. No name is
/// similar to a word of fewer than two letters.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let word = letters(word);
    if word.len() < 2 {
        return Vec::new();
    }
    // The maximum number of typing errors is a third of the number of letters, but at least 1 and
    // at most 3. Short words therefore do not match every name.
    let reach = (word.len() / 3).clamp(1, 3);
    let mut found: Vec<((usize, bool), &str)> = names
        .map(|name| {
            let letters = letters(name);
            let is_begun = letters.starts_with(&word);
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

/// Returns a question that suggests the names, or `None` if there are no names or too many names.
pub(crate) fn did_you_mean(names: &[impl AsRef<str>]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let is_few = (1..=MAX_SUGGESTIONS).contains(&names.len());
    is_few.then(|| format!("did you mean {}?", names.join(" or ")))
}

/// Returns the letters and digits of a name in lower case. Comparisons of names ignore the case of
/// letters and ignore separators.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_near_and_other_words_are_not() {
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
