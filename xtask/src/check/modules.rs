//! Reads the source files of one crate into [`Module`] values. A module value contains the names
//! that the module defines, the imports, and the paths in the code. The module `graph` resolves the
//! paths.
//!
//! Reading begins at the crate's root and follows each `mod x;`. Code that is compiled only for
//! tests is skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemMod, ItemUse, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

/// The segments of a path, for example `a` and `b` of the path `a::b`. The path either begins at
/// the crate's root, or is written as in the source.
pub(super) type Segments = Vec<String>;

/// A module of the crate: a file, or a `mod x { .. }` inside a file.
#[derive(Debug)]
pub(super) struct Module {
    /// The path of the module's file, relative to the directory of the crate's root.
    pub(super) file: PathBuf,
    pub(super) children: BTreeSet<String>,
    /// The names that the module defines, including macros.
    pub(super) items: BTreeSet<String>,
    /// The names that `use` imports. The value of each name is the imported path, as written in the
    /// source.
    pub(super) imports: BTreeMap<String, Segments>,
    /// The names in `imports` that `pub use` re-exports.
    pub(super) handed_on: BTreeSet<String>,
    /// The paths of glob imports, such as `path` in `use path::*`.
    pub(super) globs: Vec<Segments>,
    pub(super) mentions: Vec<Mention>,
}

/// A path that the code of a module mentions.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) path: Segments,
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// The syntax in which a path occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The path is in a private `use`.
    Use,
    /// The path is in a `pub use`, which re-exports the name.
    Reexport,
    /// The path is in a type, an expression, a pattern or a macro.
    Path,
}

/// All modules of a crate. The key of a module is the path from the crate's root to the module. The
/// root module has the empty path.
pub(super) type Modules = BTreeMap<Segments, Module>;

/// Reads a crate. `root` is the name of the root file in the directory `folder`.
pub(super) fn read(folder: &Path, root: &str) -> Result<Modules> {
    let mut reader = Reader { folder, modules: Modules::new() };
    reader.file(Vec::new(), Path::new(root), Path::new(""))?;
    Ok(reader.modules)
}

struct Reader<'a> {
    folder: &'a Path,
    modules: Modules,
}

impl Reader<'_> {
    /// Reads a file. `below` is the directory with the files of the module's submodules.
    fn file(&mut self, path: Segments, file: &Path, below: &Path) -> Result<()> {
        let whole = self.folder.join(file);
        let text =
            fs::read_to_string(&whole).with_context(|| format!("read {}", whole.display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("parse {}", whole.display()))?;
        self.module(path, file, below, &parsed.items)
    }

    fn module(&mut self, path: Segments, file: &Path, below: &Path, items: &[Item]) -> Result<()> {
        let mut module = Module {
            file: file.to_owned(),
            children: BTreeSet::new(),
            items: BTreeSet::new(),
            imports: BTreeMap::new(),
            handed_on: BTreeSet::new(),
            globs: Vec::new(),
            mentions: Vec::new(),
        };
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            module.items.extend(name(item));
            if let Item::Mod(child) = item {
                let name = child.ident.to_string();
                let path = [path.as_slice(), std::slice::from_ref(&name)].concat();
                self.child(path, file, below, child)?;
                module.children.insert(name);
            } else {
                module.visit_item(item);
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }

    fn child(&mut self, path: Segments, file: &Path, below: &Path, child: &ItemMod) -> Result<()> {
        let folder = below.join(child.ident.to_string());
        if let Some((_, items)) = &child.content {
            return self.module(path, file, &folder, items);
        }
        for candidate in [folder.with_extension("rs"), folder.join("mod.rs")] {
            if self.folder.join(&candidate).exists() {
                return self.file(path, &candidate, &folder);
            }
        }
        bail!("{}: no file for `mod {};`", file.display(), child.ident);
    }
}

impl Module {
    fn mention(&mut self, path: Segments, line: usize, kind: Kind) {
        self.mentions.push(Mention { path, line, kind });
    }

    fn import(&mut self, tree: &UseTree, before: &[String], kind: Kind) {
        let leaf = |module: &mut Self, name: &syn::Ident, alias: &syn::Ident| {
            let mut path = before.to_vec();
            if name != "self" {
                path.push(name.to_string());
            }
            let alias =
                if alias == "self" { path.last().cloned() } else { Some(alias.to_string()) };
            module.mention(path.clone(), name.span().start().line, kind);
            // `use Trait as _` binds no name, so no path can use this import.
            if let Some(alias) = alias.filter(|alias| alias != "_") {
                if kind == Kind::Reexport {
                    module.handed_on.insert(alias.clone());
                }
                module.imports.entry(alias).or_insert(path);
            }
        };
        match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.import(&path.tree, &before, kind);
            }
            UseTree::Name(name) => leaf(self, &name.ident, &name.ident),
            UseTree::Rename(rename) => leaf(self, &rename.ident, &rename.rename),
            UseTree::Glob(glob) => {
                self.mention(before.to_vec(), glob.star_token.span.start().line, kind);
                self.globs.push(before.to_vec());
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, before, kind));
            }
        }
    }

    /// Finds the paths in the tokens of a macro call or definition. The tokens need not be valid
    /// Rust code, so the function looks for names that `::` joins.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Segments = Vec::new();
        let mut line = 0;
        // The number of colons between the last name and the current token. If a name follows two
        // colons, as `b` in `a::b`, the name continues the path.
        let mut colons = 0;
        // The number of dots between the last name and the current token. A name after one dot is a
        // field or a method. If a name follows two dots, as `b` in `a..b`, the name begins a new
        // path.
        let mut dots = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 || path.is_empty() {
                        self.finish(&mut path, line);
                        line = ident.span().start().line;
                    }
                    if dots != 1 {
                        path.push(ident.to_string());
                    }
                    (colons, dots) = (0, 0);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.finish(&mut path, line);
                    colons = 0;
                    let is_dot =
                        matches!(&other, TokenTree::Punct(punct) if punct.as_char() == '.');
                    dots = if is_dot { dots + 1 } else { 0 };
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.finish(&mut path, line);
    }

    fn finish(&mut self, path: &mut Segments, line: usize) {
        if !path.is_empty() {
            self.mention(std::mem::take(path), line, Kind::Path);
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    /// Skips attributes. Attributes such as `#[derive(..)]` name no module of this crate.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_private = matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &[], if is_private { Kind::Use } else { Kind::Reexport });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            self.mention(segments.collect(), first.ident.span().start().line, Kind::Path);
        }
        // Visit the generic arguments of the path, because generic arguments contain paths too.
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast Macro) {
        self.visit_path(&found.path);
        self.tokens(found.tokens.clone());
    }
}

/// Whether an item with these attributes is compiled only for tests.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args().is_ok_and(|condition| needs_test(&condition)))
    })
}

/// Whether a `cfg` condition is true only for tests.
fn needs_test(condition: &syn::Meta) -> bool {
    match condition {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => {
            type Conditions = syn::punctuated::Punctuated<syn::Meta, syn::Token![,]>;
            list.parse_args_with(Conditions::parse_terminated)
                .is_ok_and(|conditions| conditions.iter().any(needs_test))
        }
        _ => false,
    }
}

/// Returns the name that an item defines.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
