//! Finds long files and long functions. A file or function that is too long must give the reason in
//! a comment.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use syn::{
    Attribute, Block, Expr, ImplItemFn, ItemFn, Lit, Meta, Signature, TraitItemFn,
    visit::{self, Visit},
};

use crate::files;

/// The maximum number of lines of a file without a reason.
const FILE: usize = 400;
/// The maximum number of lines of a function without a reason, from `fn` to the closing brace of
/// the function.
const FUNCTION: usize = 60;
/// A comment with these words gives the reason for the length: "The file is long because …". A file
/// gives its reason in its `//!` comment, and a function gives its reason in its doc comment.
const REASON: &str = "long because";

/// Returns the files and functions of these packages that are too long and give no reason.
pub(super) fn unexplained(root: &Path, packages: &[&str]) -> Result<Vec<String>> {
    // Skip folders with their own `Cargo.toml`, because such folders are other packages.
    let is_package = |path: &Path| root.join(path).join("Cargo.toml").exists();
    let mut files = BTreeSet::new();
    for package in packages {
        files.extend(files::below(root, Path::new(package), &["rs"], &is_package)?);
    }
    let mut findings = Vec::new();
    for file in files {
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("read {}", file.display()))?;
        findings.extend(of_file(&file, &text)?);
    }
    Ok(findings)
}

fn of_file(file: &Path, text: &str) -> Result<Vec<String>> {
    let parsed = syn::parse_file(text).with_context(|| format!("parse {}", file.display()))?;
    let lines = text.lines().count();
    let mut findings = Vec::new();
    if lines > FILE && !has_reason(&parsed.attrs) {
        findings.push(format!(
            "{}: {lines} lines, more than {FILE}, and no `{REASON}` in its //! head",
            file.display()
        ));
    }
    let mut visitor = Functions { file, findings };
    visitor.visit_file(&parsed);
    Ok(visitor.findings)
}

struct Functions<'a> {
    file: &'a Path,
    findings: Vec<String>,
}

impl Functions<'_> {
    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line + 1 - first;
        if lines > FUNCTION && !has_reason(attributes) {
            self.findings.push(format!(
                "{}:{first}: fn {} has {lines} lines, more than {FUNCTION}, and no `{REASON}` in its doc comment",
                self.file.display(),
                signature.ident,
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// Whether the doc comment gives a reason for the length. The words of [`REASON`] may span two
/// lines.
fn has_reason(attributes: &[Attribute]) -> bool {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let words: Vec<String> = lines
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    words.join(" ").to_lowercase().contains(REASON)
}
