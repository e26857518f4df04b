//! Tests the rules on small source trees, and on a copy of the real source tree to which one error
//! was added.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use tempfile::TempDir;

use super::{
    cycles, graph, layers, modules, prose, sizes,
    table::{DOCUMENT, Table},
};

/// Creates a source tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the test owns it");
    fs::write(path, text).expect("the test owns the folder");
}

fn append(root: &Path, path: &str, text: &str) {
    let file = OpenOptions::new().append(true).open(root.join(path));
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the test owns the file");
}

/// Returns the edges of a crate with these files, as texts `from -> to: names`.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let tree = tree(files);
    let modules = modules::read(tree.path(), "lib.rs").expect("the files parse");
    let edges = graph::edges(&modules);
    let lines = edges.iter().flat_map(|(from, targets)| {
        targets.iter().map(move |(to, names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{} -> {}: {}", from.display(), to.display(), names.join(" "))
        })
    });
    lines.collect()
}

#[test]
fn edges_lead_to_the_file_that_defines_the_name() {
    let found = edges(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::{Deep, c::Other as Renamed}; use super::b; fn f(_: b::Own) {}"),
        (
            "b/mod.rs",
            "mod c; mod d; pub(crate) use self::c::Deep; pub(crate) use d::*; pub struct Own;",
        ),
        ("b/c.rs", "pub struct Deep; pub enum Other {} use super::d::Globbed;"),
        ("b/d.rs", "pub struct Globbed; fn f() -> crate::b::Globbed { super::super::a::g() }"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs -> b/c.rs: Deep Other",
            "a.rs -> b/mod.rs: Own",
            "b/c.rs -> b/d.rs: Globbed",
            "b/d.rs -> a.rs: g",
        ]
    );
}

#[test]
fn edges_are_found_in_macros_and_of_macros() {
    let found = edges(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        (
            "a.rs",
            "use crate::b::check; fn f() { check!(1); println!(\"{}\", crate::c::g(x.c::<u8>(), S { ..crate::c::k() })); }",
        ),
        ("b.rs", "macro_rules! check { ($e:expr) => { $crate::c::h($e) }; } pub(crate) use check;"),
        ("c.rs", "pub fn g() {} pub fn h() {}"),
    ]);
    assert_eq!(found, ["a.rs -> b.rs: check", "a.rs -> c.rs: g k", "b.rs -> c.rs: h"]);
}

#[test]
fn edges_of_a_module_to_its_own_parts_need_an_import() {
    let found = edges(&[
        ("lib.rs", "mod a; mod d;"),
        ("d.rs", "pub struct D;"),
        (
            "a/mod.rs",
            "mod b; mod c; pub use self::b::B; pub use crate::d::D; use self::c::C; \
             fn f(_: B, _: D) { b::g(); }",
        ),
        ("a/b.rs", "pub struct B; pub fn g() {}"),
        ("a/c.rs", "pub struct C;"),
    ]);
    assert_eq!(found, ["a/mod.rs -> a/c.rs: C", "a/mod.rs -> d.rs: D"]);
}

#[test]
fn edges_of_tests_do_not_count() {
    let found = edges(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "#[cfg(test)] mod tests; #[cfg(test)] use crate::b::B; \
             #[cfg(all(test, unix))] mod inline { use crate::b::B; } #[test] fn t() { crate::b::f(); }",
        ),
        ("b.rs", "pub struct B; pub fn f() {} #[cfg(any(test, unix))] use crate::a::A;"),
    ]);
    assert_eq!(found, ["b.rs -> a.rs: A"]);
}

/// Returns the import cycles of a crate with these files.
fn cycles_of(files: &[(&str, &str)]) -> Vec<String> {
    let tree = tree(files);
    let modules = modules::read(tree.path(), "lib.rs").expect("the files parse");
    cycles::cycles(&graph::edges(&modules), Path::new("src"))
}

#[test]
fn cycles_of_three_files_are_reported_with_their_imports() {
    let mut files = vec![
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::{a::A, c::C}; pub struct B;"),
        ("c.rs", "pub struct C;"),
        ("d.rs", "use crate::a::A;"),
    ];
    assert!(cycles_of(&files).is_empty(), "two files may lean on each other");
    files[3].1 = "use crate::a::A; pub struct C;";
    assert_eq!(
        cycles_of(&files),
        [
            "src: 3 files import each other in a cycle\n  a.rs -> b.rs: B\n  b.rs -> a.rs: A\n  b.rs -> c.rs: C\n  c.rs -> a.rs: A"
        ]
    );
}

/// Returns the differences between the table `rows` and the edges in a user half of two modules.
fn layers_of(rows: &str, low: &str, high: &str) -> Vec<String> {
    let document =
        format!("# A\n\n## Allowed edges\n\n| module | may use |\n|---|---|\n{rows}\n## B\n");
    let tree = tree(&[
        (DOCUMENT, &document),
        ("tcpstate/src/lib.rs", "mod low; mod high;"),
        ("tcpstate/src/low.rs", low),
        ("tcpstate/src/high/mod.rs", "mod part; pub use self::part::Part;"),
        ("tcpstate/src/high/part.rs", high),
    ]);
    layers::modules(tree.path()).expect("the tree can be read")
}

const ROWS: &str = "| `low` | - |\n| `high` | `low` |\n";

#[test]
fn allowed_edges_of_a_row_may_take_several_lines() {
    let document = "## Allowed edges\n\n| module | may use |\n|---|---|\n| `a` | - |\n| `b` | - |\n| `c` | `a` |\n| | `b` |\n";
    let table = Table::parse(document, "module").expect("it is a table");
    assert_eq!(table.rows.len(), 3);
    assert_eq!(table.rows[2].may_use, ["a", "b"]);
}

#[test]
fn allowed_edges_are_compared_with_imports() {
    let part = "use crate::low::Low; pub struct Part;";
    assert!(layers_of(ROWS, "pub struct Low;", part).is_empty());
    assert_eq!(
        layers_of(ROWS, "pub struct Low;\nfn f(_: super::high::Part) {}", part),
        [
            "tcpstate/src/low.rs:2: `super::high::Part` uses `high`, which the row of `low` (docs/ARCHITECTURE.md:7) does not allow"
        ]
    );
    assert_eq!(
        layers_of(ROWS, "", "pub struct Part;"),
        ["docs/ARCHITECTURE.md:8: `high` may use `low`, but does not"]
    );
}

#[test]
fn allowed_edges_lead_up_the_table_to_existing_modules() {
    let part = "use crate::low::Low; pub struct Part;";
    assert_eq!(
        layers_of("| `high` | `low` |\n| `gone` | - |\n", "pub struct Low;", part),
        [
            "docs/ARCHITECTURE.md:7: `high` may use `low`, which has no row above it; a row may use only rows above it",
            "docs/ARCHITECTURE.md:8: a row for `gone`, which does not exist",
            "docs/ARCHITECTURE.md: no row for `low`",
        ]
    );
    assert!(Table::parse("## Allowed edges\n", "module").is_err(), "a table is expected");
    let dashless = "## Allowed edges\n| module | may use |\n|---|---|\n| `a` | |\n";
    assert!(Table::parse(dashless, "module").is_err(), "an empty cell is no answer");
}

#[test]
fn allowed_edges_between_crates_are_compared_with_manifests() {
    let package = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
    let tree = tree(&[
        (
            DOCUMENT,
            "## Allowed edges\n| crate | may use |\n|---|---|\n| `a` | - |\n| `b` | `a` |\n",
        ),
        ("Cargo.toml", "[workspace]\nmembers = [\"a\", \"b\"]\n"),
        ("a/Cargo.toml", &package("a", "[build-dependencies]\nb = {}\n")),
        (
            "b/Cargo.toml",
            &package("b", "[dependencies]\na = {}\nother = \"1\"\n[dev-dependencies]\nb = {}\n"),
        ),
    ]);
    assert_eq!(
        layers::crates(tree.path()).expect("the tree can be read"),
        ["a/Cargo.toml: `a` uses `b`, which its row (docs/ARCHITECTURE.md:4) does not allow"]
    );
}

#[test]
fn long_files_and_functions_need_a_reason() {
    let function = |comment: &str, lines: usize| {
        format!("{comment}fn long() {{\n{}}}\n", "    ();\n".repeat(lines - 2))
    };
    let file =
        |head: &str, lines: usize| format!("{head}{}", "const _: () = ();\n".repeat(lines - 1));
    let tree = tree(&[
        ("a/src/fits.rs", &file("//! Head.\n", 400)),
        ("a/src/long.rs", &file("//! Head.\n", 401)),
        ("a/src/reasoned.rs", &file("//! Head. The file is long because it is a table.\n", 401)),
        ("a/src/functions.rs", &function("", 60)),
        ("a/tests/long.rs", &function("/// Does it.\n", 61)),
        ("a/tests/reasoned.rs", &function("/// Does it. Long\n/// because it is a list.\n", 61)),
        ("a/nested/Cargo.toml", ""),
        ("a/nested/src/long.rs", &file("//! Head.\n", 401)),
    ]);
    assert_eq!(
        sizes::unexplained(tree.path(), &["a"]).expect("the tree can be read"),
        [
            "a/src/long.rs: 401 lines, more than 400, and no `long because` in its //! head",
            "a/tests/long.rs:2: fn long has 61 lines, more than 60, and no `long because` in its doc comment",
        ]
    );
}

/// Returns the root of the tree from which this test was built.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in a folder")
}

/// Copies the user half, and the document that lists the allowed edges.
fn real_tree() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("the test owns the folder");
        for entry in fs::read_dir(from).expect("the tree can be read") {
            let entry = entry.expect("the tree can be read");
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).expect("the test owns the folder");
            }
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    copy(&root().join("tcpstate/src"), &folder.path().join("tcpstate/src"));
    let document = fs::read_to_string(root().join(DOCUMENT)).expect("the tree can be read");
    write(folder.path(), DOCUMENT, &document);
    folder
}

/// Adds an error to a copy of the real source tree, and returns the findings that this error
/// causes.
fn found(check: impl Fn(&Path) -> Vec<String>, plant: impl FnOnce(&Path)) -> Vec<String> {
    let tree = real_tree();
    let before = check(tree.path());
    plant(tree.path());
    let mut after = check(tree.path());
    after.retain(|finding| !before.contains(finding));
    after
}

const REPORT: &str = "tcpstate/src/report/mod.rs";

#[test]
fn an_import_against_the_table_is_found_in_the_real_tree() {
    let check = |root: &Path| layers::modules(root).expect("the tree can be read");
    let found = found(check, |root| append(root, REPORT, "\nuse crate::command::run;\n"));
    let [finding] = &found[..] else { panic!("one finding is expected: {found:?}") };
    assert!(finding.starts_with(REPORT), "{finding}");
    assert!(
        finding.contains("`crate::command::run` uses `command`, which the row of `report`"),
        "{finding}"
    );
}

#[test]
fn a_cycle_of_three_files_is_found_in_the_real_tree() {
    let check = |root: &Path| {
        let folder = Path::new("tcpstate/src");
        let modules = modules::read(&root.join(folder), "lib.rs").expect("the tree can be read");
        cycles::cycles(&graph::edges(&modules), folder)
    };
    let found = found(check, |root| {
        append(root, REPORT, "\nmod one;\nmod two;\nmod three;\n");
        for (file, next) in [("one", "two"), ("two", "three"), ("three", "one")] {
            let text = format!("use super::{next}::Planted;\npub struct Planted;\n");
            write(root, &format!("tcpstate/src/report/{file}.rs"), &text);
        }
    });
    assert_eq!(
        found,
        ["tcpstate/src: 3 files import each other in a cycle\n  \
          report/one.rs -> report/two.rs: Planted\n  \
          report/three.rs -> report/one.rs: Planted\n  \
          report/two.rs -> report/three.rs: Planted"]
    );
}

#[test]
fn a_file_of_401_lines_is_found_in_the_real_tree() {
    let check = |root: &Path| sizes::unexplained(root, &["tcpstate"]).expect("it can be read");
    let found = found(check, |root| {
        write(root, "tcpstate/src/report/planted.rs", &"//! Head.\n".repeat(401));
    });
    assert_eq!(
        found,
        [
            "tcpstate/src/report/planted.rs: 401 lines, more than 400, and no `long because` in its //! head"
        ]
    );
}

/// Checks the texts of these files with these rules, and returns the findings.
fn prose_of(rules: &str, files: &[(&str, &str)]) -> Vec<String> {
    let tree = tree(files);
    write(tree.path(), prose::RULES, rules);
    prose::check(tree.path()).expect("the tree can be read")
}

/// Returns the rules of the real tree, with these exceptions instead of the real exceptions.
fn rules_with(exceptions: &str) -> String {
    let rules = fs::read_to_string(root().join(prose::RULES)).expect("the tree can be read");
    let own = rules.find("[[exceptions]]").unwrap_or(rules.len());
    format!("{}{exceptions}", &rules[..own])
}

#[test]
fn planted_faults_of_prose_are_found() {
    let wide = format!("{} end.\n", "wide ".repeat(28));
    let sentence = format!("A {}end.\n", "word ".repeat(38));
    let sentence = sentence.replace("word word word word ", "word word word word\n");
    let readme = sentence + &"\n".repeat(150);
    let files = [
        ("tcpstate/src/a.rs", "// Help follows.\nfn f() {\n    eprintln!(\"remedy: {}\", 1);\n}\n"),
        ("docs/EVENTS.md", &*wide),
        ("README.md", &*readme),
        ("docs/GUIDE.md", "A short sentence. Another one.\n"),
        ("tcpstate/src/books.rs", "struct Books;\n"),
    ];
    let found = prose_of(&rules_with(""), &files);
    let expected = [
        "README.md:1: 160 lines, more than 150",
        "README.md:1: a sentence of 40 words, more than 25: A word",
        "docs/EVENTS.md:1: 145 columns, more than 100",
        "tcpstate/src/a.rs:3: \"remedy:\": use help:",
        "tcpstate/src/books.rs:1: the name `books.rs`: use Aggregator, Gauges",
        "tcpstate/src/books.rs:1: the name `Books`: use Aggregator, Gauges",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn exceptions_of_prose_have_a_use_and_a_reason() {
    let exception = |line: &str, reason: &str| {
        format!(
            "[[exceptions]]\nrule = \"phrase\"\npath = \"a.md\"\nline = \"{line}\"\nreason = \"{reason}\"\n"
        )
    };
    let files = [("a.md", "The remedy: sleep.\n")];
    assert!(prose_of(&rules_with(&exception("remedy: sleep", "a quotation")), &files).is_empty());
    let found = prose_of(&rules_with(&exception("something else", "a quotation")), &files);
    assert_eq!(
        found,
        [
            "xtask/prose.toml: the exception for `something else` in a.md has no use",
            "a.md:1: \"remedy:\": use help:",
        ]
    );
    let tree = tree(&files);
    write(tree.path(), prose::RULES, &rules_with(&exception("remedy: sleep", " ")));
    assert!(prose::check(tree.path()).is_err(), "a reason is asked for");
}
