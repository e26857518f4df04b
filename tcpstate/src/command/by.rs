//! Parses the keys of `--by`, by which sockets are grouped.

use crate::{nearest::nearest, report::Key};

/// The keys of one `--by`. Several keys make one group for each combination of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys(pub(super) Vec<Key>);

/// Parses keys that are separated by commas. `all` has the keys that the command offers.
pub(super) fn parse(text: &str, all: &[Key]) -> Result<Keys, String> {
    let mut keys = Vec::new();
    for word in text.split(',') {
        let key = key(word.trim(), all)?;
        if keys.contains(&key) {
            return Err(format!("{} occurs twice", key.name()));
        }
        keys.push(key);
    }
    Ok(Keys(keys))
}

fn key(word: &str, all: &[Key]) -> Result<Key, String> {
    // Earlier versions of `count` had the key `uid`.
    let name = if word == "uid" { Key::User.name() } else { word };
    all.iter().copied().find(|key| key.name() == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|key| key.name()).collect();
        format!("expected {}", names.join(", "))
    })
}

/// Returns the names of keys that are similar to the first unknown word.
pub(super) fn similar(text: &str) -> Vec<String> {
    let names = || Key::ALL.iter().map(|key| key.name());
    let unknown = text.split(',').map(str::trim).find(|word| names().all(|name| name != *word));
    unknown.map_or_else(Vec::new, |word| {
        nearest(word, names()).into_iter().map(str::to_owned).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_separated_by_commas() {
        let keys = parse("process, state", &Key::ALL).expect("both are keys");
        assert_eq!(keys.0, [Key::Process, Key::State]);
        assert_eq!(parse("uid", &Key::ALL), Ok(Keys(vec![Key::User])));
        for (text, reason) in [
            ("", "expected process, comm, user"),
            ("process,", "expected process, comm, user"),
            ("process,remote,process", "process occurs twice"),
            ("user,uid", "user occurs twice"),
            ("pod", "expected process, comm, user"),
        ] {
            let error = parse(text, &Key::ALL).expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        assert!(parse("state", &[Key::Process]).is_err());
    }

    #[test]
    fn similar_keys_are_suggested() {
        assert_eq!(similar("process,local-prot"), ["local-port"]);
        assert_eq!(similar("localport"), ["local-port"]);
        assert!(similar("process").is_empty());
        assert!(similar("bananas").is_empty());
    }
}
