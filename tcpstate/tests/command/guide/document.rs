//! Reads the commands of a document, and the output that the document shows below each command.

/// The commands of one code block in a document, and the output that the document shows for these
/// commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Example {
    /// The name of the document and the line number of the block's first command, for example
    /// `README.md:12`.
    pub(super) place: String,
    /// The heading of the section that the block is in.
    pub(super) section: String,
    /// The commands of the block, one on each line.
    pub(super) commands: String,
    /// The expected output of the commands, which the document shows after the commands.
    pub(super) shown: Option<String>,
}

/// The commands of a document, in order. A code block marked `text` is the output of the code block
/// marked `sh` directly above it. In a code block marked `console`, a command begins with `$ `, and
/// the output of the command follows.
///
/// # Panics
/// Panics if a block of output has no commands.
pub(super) fn examples(name: &str, text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut section = String::new();
    // Whether only blank lines were read since the end of the last block of commands.
    let mut is_right_below = false;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if let Some(heading) = line.strip_prefix("## ") {
                heading.clone_into(&mut section);
            }
            is_right_below &= line.is_empty();
            continue;
        };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        let place = format!("{name}:{}", index + 2);
        match language {
            "sh" => examples.push(Example {
                place,
                section: section.clone(),
                commands: block,
                shown: None,
            }),
            "console" => {
                for (command, line) in block.split("\n$ ").zip(index + 2..) {
                    let (command, shown) = command.split_once('\n').unwrap_or((command, ""));
                    examples.push(Example {
                        // The places of two commands always differ, but the line number in a place
                        // is not exact.
                        place: format!("{name}:{line}"),
                        section: section.clone(),
                        commands: command.trim_start_matches("$ ").to_owned(),
                        shown: (!shown.is_empty()).then(|| shown.to_owned()),
                    });
                }
            }
            "text" => {
                let example = examples.last_mut().filter(|_| is_right_below);
                let example = example.unwrap_or_else(|| panic!("{place}: output of no command"));
                example.shown = Some(block);
            }
            _ => {}
        }
        is_right_below = language == "sh";
    }
    examples
}

/// Returns the first block of lines that are indented by four spaces, and removes the indentation.
pub(super) fn first_indented_block(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("    "));
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let block: Vec<&str> = block.map(|line| line.get(4..).unwrap_or("")).collect();
    block.join("\n").trim_end().to_owned()
}

#[test]
fn guide_documents_are_read_as_examples() {
    let text =
        "    screen\n\n## One\n```sh\nls\n```\n\n```text\na\nb\n```\n\n## Two\n```sh\npwd\n```\n";
    let [first, second] = &examples("A.md", text)[..] else { panic!("two examples") };
    assert_eq!((first.section.as_str(), first.commands.as_str()), ("One", "ls"));
    assert_eq!((first.place.as_str(), first.shown.as_deref()), ("A.md:5", Some("a\nb")));
    assert_eq!((second.section.as_str(), second.shown.as_deref()), ("Two", None));
    assert_eq!(first_indented_block(text), "screen");
}

#[test]
fn guide_transcripts_are_read_as_examples() {
    let text = "```console\n$ ls\na\nb\n$ true\n$ pwd\n/\n```\n";
    let found = examples("A.md", text);
    let found: Vec<_> =
        found.iter().map(|one| (one.commands.as_str(), one.shown.as_deref())).collect();
    assert_eq!(found, [("ls", Some("a\nb")), ("true", None), ("pwd", Some("/"))]);
}

#[test]
#[should_panic(expected = "A.md:6: output of no command")]
fn guide_output_needs_a_command_right_above_it() {
    examples("A.md", "```sh\nls\n```\ntext\n```text\na\n```\n");
}
