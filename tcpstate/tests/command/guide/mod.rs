//! Tests the README and the guide: runs each command in order, and compares the output in the
//! document with the output that the program prints now.

mod document;
mod scene;
mod shape;

use std::{env, fs, path::Path, thread};

use tcpstate::{
    recording::Record,
    report::Report,
    view::{Screen, Size, TerminalCaps, View as _},
};
use tcpstate_tests::{netns::Namespace, recordings};

use self::{
    document::{Example, examples},
    scene::Scene,
    shape::compare,
};
use super::desk::{self, Desk};

const README: &str = include_str!("../../../../README.md");
const GUIDE: &str = include_str!("../../../../docs/GUIDE.md");

/// Sections are independent of each other and run at the same time. Each section runs in its own
/// folder. The commands of a section run one after the other. If `TCPSTATE_TEST_GUIDE` names a
/// folder, the test also writes the outputs to this folder, from which the documents can be
/// updated.
#[test]
fn guide_and_readme_show_what_their_commands_print() {
    let _namespace = Namespace::enter();
    let mut examples = examples("README.md", README);
    let [build, tests, ..] = &examples[..] else { panic!("the README begins with two commands") };
    assert_eq!(build.commands, "cargo build --release && sudo target/release/tcpstate trace");
    assert_eq!(tests.commands, "cargo xtask test");
    examples.extend(document::examples("GUIDE.md", GUIDE));
    let _scene = Scene::open();
    let sections = examples.chunk_by(|one, next| one.section == next.section);
    let failures = thread::scope(|scope| {
        let threads = sections.map(|section| scope.spawn(move || failures(section)));
        let threads: Vec<_> = threads.collect();
        let failures = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        failures.flatten().collect::<Vec<String>>()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Runs the commands of a section. Returns a text for each command whose output differs from the
/// document.
fn failures(section: &[Example]) -> Vec<String> {
    let desk = Desk::new();
    section.iter().filter_map(|example| failure(&desk, example).err()).collect()
}

fn failure(desk: &Desk, example: &Example) -> Result<(), String> {
    let Example { place, commands, shown, .. } = example;
    let shown = shown.as_deref();
    let is_enough = |output: &str| shown.is_none_or(|shown| compare(shown, output, false).is_ok());
    let typed = desk.run(commands, is_enough);
    if let Some(folder) = env::var_os("TCPSTATE_TEST_GUIDE") {
        let name = place.replace(':', "-");
        fs::write(Path::new(&folder).join(name), format!("$ {commands}\n{}", typed.output))
            .expect("the folder can be written to");
    }
    let fail = |why: &str| Err(format!("{place}: {why}\n$ {commands}\n{}", typed.output));
    if !typed.is_good(commands) {
        return fail(&format!("status {:?}, or an error", typed.status));
    }
    let is_whole = typed.is_whole && !typed.is_screen;
    shown.map_or(Ok(()), |shown| compare(shown, &typed.output, is_whole).or_else(|why| fail(&why)))
}

/// The first screen in the README must be the last frame of a replayed recording. The recording was
/// made in a virtual machine that runs Linux 6.12.
#[test]
fn guide_screen_of_the_readme_is_that_of_a_recording() {
    let (columns, rows) = (80, 24);
    let file = fs::read(recordings::folder().join("readme/web-server.tcps")).expect("it is there");
    let look = TerminalCaps { coloured: false, unicode: true };
    let mut screen = Screen::new(look, move || Size { columns, rows });
    let mut frame = Vec::new();
    for record in recordings::read(&file) {
        let Record::Report(report) = record else { continue };
        if !matches!(*report, Report::End(_)) {
            frame.clear();
            screen.show(&report, &mut frame).expect("memory takes everything");
        }
    }
    let frame = desk::text(&frame);
    let frame = frame.trim();
    let indented = frame.lines().map(|line| format!("    {line}").trim_end().to_owned());
    let indented = indented.collect::<Vec<_>>().join("\n");
    let shown = document::first_indented_block(README);
    assert!(README.lines().count() <= 150, "the README should have at most 150 lines");
    let trimmed = frame.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(shown, trimmed, "the README should have\n{indented}");
}
