//! Finds the kernel modules for the tests, and the dependencies of these modules, in the order of
//! loading.
//!
//! The unpacked packages have no `modules.dep`, because only the installation of a kernel creates
//! this file. The section `.modinfo` of each module also lists the dependencies.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use crate::process;

/// Kernel modules that the tests may use. If the kernel contains a listed module as built-in code,
/// or does not have the module, no file of this module exists.
const WANTED: &[&str] =
    &["inet_diag", "tcp_diag", "mptcp_diag", "veth", "tun", "dummy", "sch_netem", "tcp_bbr"];

/// A kernel module to load in the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// The bytes of the uncompressed module, because some kernels cannot decompress modules.
    pub(crate) bytes: Vec<u8>,
}

/// The uncompressed content of a module's file.
struct Unpacked {
    bytes: Vec<u8>,
    needs: Vec<String>,
}

/// Returns the modules of [`WANTED`] that are in `folder`, and the dependencies of these modules.
/// Each module follows its dependencies.
pub(crate) fn load(folder: &Path) -> Result<Vec<Module>> {
    let mut paths = BTreeMap::new();
    find(folder, &mut paths)?;
    let mut modules = Vec::new();
    for name in WANTED {
        add(name, &|name| paths.get(name).map(|path| unpack(path)).transpose(), &mut modules)?;
    }
    Ok(modules)
}

/// Adds the dependencies of a module and then the module. Does nothing if the list already contains
/// the module, or if `unpack` cannot find the module.
fn add(
    name: &str,
    unpack: &impl Fn(&str) -> Result<Option<Unpacked>>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(Unpacked { bytes, needs }) = unpack(name)? else { return Ok(()) };
    for need in needs {
        add(&need, unpack, modules)?;
    }
    modules.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

fn find(folder: &Path, paths: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("read the folder {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("read the folder {}", folder.display()))?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), paths)?;
        } else if let Some(name) = name_of(&entry.path()) {
            paths.insert(name, entry.path());
        }
    }
    Ok(())
}

/// Returns the name that the kernel uses for the module in a file: `tcp_diag` for `tcp-diag.ko.xz`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, packing) = file.split_once(".ko")?;
    matches!(packing, "" | ".xz" | ".zst").then(|| name.replace('-', "_"))
}

fn unpack(path: &Path) -> Result<Unpacked> {
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => decompress("xz", path),
        Some("zst") => decompress("zstd", path),
        _ => fs::read(path).with_context(|| format!("read {}", path.display())),
    }?;
    let needs = dependencies(&bytes).with_context(|| path.display().to_string())?;
    Ok(Unpacked { bytes, needs })
}

fn decompress(tool: &str, path: &Path) -> Result<Vec<u8>> {
    let mut command = process::command(tool);
    command.arg("-dc").arg(path).stderr(Stdio::inherit());
    let output =
        command.output().with_context(|| format!("start {}", process::describe(&command)))?;
    if !output.status.success() {
        bail!("{}: {}", output.status, process::describe(&command));
    }
    Ok(output.stdout)
}

/// Returns the dependencies of a module. The entry `depends=` in the section `.modinfo` lists the
/// dependencies.
fn dependencies(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module).context("parse as ELF")?;
    let section = file.section_by_name(".modinfo").context("no section .modinfo")?;
    Ok(needs(section.data().context("read .modinfo")?))
}

fn needs(modinfo: &[u8]) -> Vec<String> {
    let texts = modinfo.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    let mut values = texts.filter_map(|text| text.strip_prefix("depends=").map(str::to_owned));
    let value = values.next().unwrap_or_default();
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_comes_once_and_after_its_dependencies() {
        let known: [(&str, &[&str]); 4] =
            [("a", &["b", "c"]), ("b", &["c"]), ("c", &[]), ("d", &["a", "not_here"])];
        let unpack = |name: &str| {
            let found = known.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(name, needs)| Unpacked {
                bytes: name.as_bytes().to_vec(),
                needs: needs.iter().map(ToString::to_string).collect(),
            }))
        };
        let mut modules = Vec::new();
        for name in ["a", "d", "nowhere", "b"] {
            add(name, &unpack, &mut modules).expect("all of them unpack");
        }
        let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a", "d"]);
        assert!(modules.iter().all(|module| module.bytes == module.name.as_bytes()));
    }

    #[test]
    fn file_that_is_not_a_module_is_an_error() {
        assert!(dependencies(b"text").is_err());
    }

    #[test]
    fn modules_have_the_names_of_the_kernel() {
        let name = |path| name_of(Path::new(path));
        assert_eq!(name("net/ipv4/tcp_diag.ko").as_deref(), Some("tcp_diag"));
        assert_eq!(name("crypto/sha512-ssse3.ko.xz").as_deref(), Some("sha512_ssse3"));
        assert_eq!(name("modules.order"), None);
        assert_eq!(name("a.ko.sig"), None);
    }

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(needs(b"license=GPL\0depends=inet_diag,a-b\0"), ["inet_diag", "a_b"]);
        assert!(needs(b"depends=\0name=dummy\0").is_empty());
        assert!(needs(b"name=dummy\0").is_empty());
    }
}
