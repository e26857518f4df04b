//! Lists the identifiers of a Rust file.

use anyhow::{Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

/// Returns the identifiers and their line numbers. The first line has number 1. Words in comments
/// and strings are not identifiers.
pub(super) fn names(text: &str) -> Result<Vec<(usize, String)>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
    let mut names = Vec::new();
    collect(tokens, &mut names);
    Ok(names)
}

fn collect(tokens: TokenStream, names: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => names.push((name.span().start().line, name.to_string())),
            TokenTree::Group(group) => collect(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_outside_of_comments_and_strings() {
        let text = "// Books\nfn f() {\n    m!(ledger, \"Account\");\n}\n";
        let names = names(text).expect("it is Rust");
        let names: Vec<_> = names.iter().map(|(line, name)| (*line, name.as_str())).collect();
        assert_eq!(names, [(2, "fn"), (2, "f"), (3, "m"), (3, "ledger")]);
    }
}
