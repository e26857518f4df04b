//! Parses lists such as `80,443,8000-8100`. The error for an invalid list contains the position of
//! the wrong item.

/// Parses each item of a list. The error for an invalid item contains the item and the position of
/// the item's first character.
pub(crate) fn parse<T>(
    text: &str,
    mut item: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut character = 1;
    text.split(',')
        .map(|part| {
            let start = character + part.chars().take_while(|c| c.is_whitespace()).count();
            character += part.chars().count() + 1;
            match part.trim() {
                "" => Err(format!("at character {start}: an item is missing")),
                word => item(word).map_err(|why| {
                    format!("at character {start}: '{}' {why}", word.escape_debug())
                }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_an_item_and_its_position() {
        let number = |word: &str| word.parse::<u8>().map_err(|_| "is not a number".to_owned());
        assert_eq!(parse("1, 2,3", number), Ok(vec![1, 2, 3]));
        for (text, expected) in [
            ("", "at character 1: an item is missing"),
            ("1,,3", "at character 3: an item is missing"),
            ("1,2,", "at character 5: an item is missing"),
            ("1,2x", "at character 3: '2x' is not a number"),
            ("1,  é,2", "at character 5: 'é' is not a number"),
            ("é,2", "at character 1: 'é' is not a number"),
            ("1,\u{1b}[2J", "at character 3: '\\u{1b}[2J' is not a number"),
        ] {
            assert_eq!(parse(text, number), Err(expected.to_owned()), "{text:?}");
        }
    }
}
