//! Resolves the paths in a crate's code to the files that define the names.
//!
//! An import of a module creates no edge. If the code uses a name through the imported module, this
//! use creates an edge to the file that defines the name. If a module only re-exports the name, the
//! edge leads to the file that contains the definition. If no module defines a name, a macro
//! created the name, and the edge leads to the module that the path names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::modules::{Kind, Mention, Module, Modules, Segments};

/// The maximum number of re-exports between a name and its definition. A longer chain of re-exports
/// must be a cycle.
const LONGEST_CHAIN: usize = 32;

/// The module or the item that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Module(Segments),
    /// The path names an item. `module` is the module that defines the item.
    Item {
        module: Segments,
        name: String,
    },
}

impl Target {
    /// Returns the named module, or the module that defines the named item.
    pub(super) fn module(&self) -> &Segments {
        match self {
            Self::Module(module) | Self::Item { module, .. } => module,
        }
    }
}

/// The edges of a crate. The outer key is a file that uses names, and the inner key is a file that
/// defines some of these names. The value lists the names that the first file uses from the second
/// file.
pub(super) type Edges = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// Returns the edges between the files of a crate.
pub(super) fn edges(modules: &Modules) -> Edges {
    let mut edges = Edges::new();
    for (path, module) in modules {
        for mention in &module.mentions {
            let Some(Target::Item { module: definer, name }) =
                resolve(modules, path, &mention.path)
            else {
                continue;
            };
            if !module.imports_by(mention, definer.starts_with(path)) {
                continue;
            }
            let definer = &modules[&definer].file;
            if *definer != module.file {
                let from = edges.entry(module.file.clone()).or_default();
                from.entry(definer.clone()).or_default().insert(name);
            }
        }
    }
    edges
}

/// Resolves a path in the code of the module `from`. Returns `None` if the target is outside the
/// crate.
pub(super) fn resolve(modules: &Modules, from: &[String], path: &[String]) -> Option<Target> {
    Resolver { modules }.path(from, path, false, 0)
}

impl Module {
    /// Whether a path that the code mentions is an import. A mentioned path is not an import in
    /// three cases:
    ///
    /// - The path is a re-export.
    /// - The path begins with a submodule of the module.
    /// - The path begins with a name that the module re-exports from a submodule.
    fn imports_by(&self, mention: &Mention, is_in_part: bool) -> bool {
        let is_own = |name: &String| {
            self.children.contains(name) || (is_in_part && self.handed_on.contains(name))
        };
        match mention.kind {
            Kind::Use => true,
            Kind::Reexport => false,
            Kind::Path => !mention.path.first().is_some_and(is_own),
        }
    }
}

/// Returns the path relative to the crate's root, if `path` begins with `crate`, `self` or `super`.
pub(super) fn absolute(from: &[String], path: &[String]) -> Option<Segments> {
    let (base, rest) = split(from, path)?;
    (rest.len() < path.len()).then(|| [&base, rest].concat())
}

/// Splits a path into two parts: the module that the words `crate`, `self` and `super` mean, and
/// the remaining names.
fn split<'a>(from: &[String], path: &'a [String]) -> Option<(Segments, &'a [String])> {
    let mut base = from.to_vec();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()?),
            _ => break,
        }
        rest = after;
    }
    Some((base, rest))
}

struct Resolver<'a> {
    modules: &'a Modules,
}

impl Resolver<'_> {
    /// Resolves a path. `is_prefix` is true if more segments follow the path. If another segment
    /// follows a name that is both a module and a function, the name means the module.
    fn path(
        &self,
        from: &[String],
        path: &[String],
        is_prefix: bool,
        depth: usize,
    ) -> Option<Target> {
        if depth > LONGEST_CHAIN {
            return None;
        }
        let (base, rest) = split(from, path)?;
        let mut target = Target::Module(base);
        let is_relative = rest.len() == path.len();
        for (index, name) in rest.iter().enumerate() {
            let Target::Module(module) = &target else { break };
            let is_prefix = is_prefix || index + 1 < rest.len();
            let found = self.name(module, name, is_prefix, depth);
            target = match found {
                Some(found) => found,
                // If a path does not begin with `crate` and its first name is unknown, the name
                // belongs to another crate or to the language.
                None if is_relative && index == 0 => return None,
                None => Target::Item { module: module.clone(), name: name.clone() },
            };
        }
        Some(target)
    }

    fn name(&self, path: &[String], name: &str, is_prefix: bool, depth: usize) -> Option<Target> {
        let module: &Module = self.modules.get(path)?;
        let item = || {
            let is_defined = module.items.contains(name);
            is_defined.then(|| Target::Item { module: path.to_vec(), name: name.to_owned() })
        };
        let child = || {
            let is_child = module.children.contains(name);
            is_child.then(|| Target::Module([path, &[name.to_owned()]].concat()))
        };
        let import = || {
            let import = module.imports.get(name)?;
            self.path(path, import, is_prefix, depth + 1)
        };
        let glob = || {
            module.globs.iter().find_map(|glob| {
                let target = self.path(path, glob, true, depth + 1)?;
                let Target::Module(globbed) = target else { return None };
                self.name(&globbed, name, is_prefix, depth + 1)
            })
        };
        if depth > LONGEST_CHAIN {
            None
        } else if is_prefix {
            child().or_else(import).or_else(item).or_else(glob)
        } else {
            item().or_else(import).or_else(child).or_else(glob)
        }
    }
}
