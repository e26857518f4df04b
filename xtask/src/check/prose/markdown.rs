//! Splits a Markdown document into sentences.
//!
//! Code blocks, tables and headings are skipped. Each list item begins a new sentence. Code in
//! backticks counts as one word. The text of a link is part of the sentence, and the target of the
//! link is not.

/// A sentence of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// The number of the line in which the paragraph of the sentence begins. The first line has
    /// number 1.
    pub(super) line: usize,
    pub(super) text: String,
}

/// Returns the sentences of all paragraphs and list items.
pub(super) fn sentences(document: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    for (line, text) in paragraphs(document) {
        let split = split(&plain(&text));
        sentences.extend(split.into_iter().map(|text| Sentence { line, text }));
    }
    sentences
}

/// Returns the paragraphs and list items of a document, each as one line of text.
fn paragraphs(document: &str) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    let mut is_code = false;
    for (index, line) in document.lines().enumerate() {
        let text = line.trim();
        if text.starts_with("```") {
            (is_code, is_open) = (!is_code, false);
            continue;
        }
        let is_indented_code = line.starts_with("    ") && !is_open;
        let is_no_text = text.is_empty() || text.starts_with(['#', '|', '<']);
        if is_code || is_indented_code || is_no_text {
            is_open = false;
            continue;
        }
        match (item(text), paragraphs.last_mut()) {
            (None, Some((_, paragraph))) if is_open => {
                paragraph.push(' ');
                paragraph.push_str(text);
            }
            (item, _) => paragraphs.push((index + 1, item.unwrap_or(text).to_owned())),
        }
        is_open = true;
    }
    paragraphs
}

/// Returns the text of a list item without its mark, for example without `* `.
fn item(text: &str) -> Option<&str> {
    let after_number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if after_number.len() < text.len() {
        return after_number.strip_prefix(". ");
    }
    text.strip_prefix("* ").or_else(|| text.strip_prefix("- "))
}

/// Replaces code in backticks by one word. Replaces a link by the text of the link.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split('`').enumerate() {
        plain.push_str(if index % 2 == 1 { "Code" } else { part });
    }
    let mut shown = String::new();
    let mut rest = plain.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    shown.push_str(rest);
    shown.replace('[', "")
}

/// Splits a text into sentences. A sentence ends after `.`, `!` or `?` if the next word looks like
/// the first word of a sentence.
fn split(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(['.', '!', '?']) {
        let after = text[at + 1..].trim_start_matches(['*', '_', '"', ')']);
        let next = after.trim_start();
        let is_followed = after.len() > next.len() && !next.starts_with(char::is_lowercase);
        if next.is_empty() || is_followed {
            let end = text.len() - after.len();
            sentences.push(text[begin..end].trim().to_owned());
            begin = end;
        }
    }
    sentences.push(text[begin..].trim().to_owned());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(document: &str) -> Vec<String> {
        sentences(document).into_iter().map(|sentence| sentence.text).collect()
    }

    #[test]
    fn paragraphs_and_items_are_split_into_sentences() {
        let document = "# No. Sentence\n\nOne is\nhere. Two, e.g. this; v1.2 too!\n- Three\n  goes on\n2. Four?\n";
        assert_eq!(
            texts(document),
            ["One is here.", "Two, e.g. this; v1.2 too!", "Three goes on", "Four?"]
        );
        assert_eq!(sentences(document)[2].line, 5);
    }

    #[test]
    fn code_and_tables_have_no_sentences() {
        let document = "```sh\na. B. C\n```\n\n    d. E\n\n| F. G |\nH `i. J k` [l m](n. O).\n";
        assert_eq!(texts(document), ["H Code l m."]);
    }
}
