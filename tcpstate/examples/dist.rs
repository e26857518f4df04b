//! Writes man pages and shell completions, which are generated from the command line's definition.
//! `cargo xtask dist` runs this example.
//!
//! This generator is an example and not a part of the program, because users of the program do not
//! need the generator. The generator is not a part of `xtask` either, because `xtask` depends on no
//! other package of the workspace.
//!
//! ```text
//! man/tcpstate.1, man/tcpstate-trace.1 ...
//! completions/tcpstate.bash, completions/_tcpstate, completions/tcpstate.fish
//! ```

use std::{fs, io, path::Path};

use clap_complete::Shell;

/// The shells for which completions are written.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("name a folder"))?;
    write_all(Path::new(&folder))
}

/// Writes the man pages and the completions into a folder.
fn write_all(folder: &Path) -> io::Result<()> {
    let mut command = tcpstate::command::command_line();
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    let pages = command.clone().disable_help_subcommand(true).mut_subcommands(with_examples_last);
    clap_mangen::generate_to(pages, &man)?;
    let completions = folder.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, "tcpstate", &completions)?;
    }
    Ok(())
}

/// Moves the examples behind the flags, because a generated man page contains no text before the
/// flags.
fn with_examples_last(command: clap::Command) -> clap::Command {
    let texts = [command.get_before_long_help(), command.get_after_long_help()];
    let texts: Vec<String> = texts.into_iter().flatten().map(ToString::to_string).collect();
    command.after_long_help(texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn dist() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        write_all(folder.path()).expect("it can be written to");
        folder
    }

    #[test]
    fn every_command_has_a_man_page_with_its_flags_and_examples() {
        let folder = dist();
        let command = tcpstate::command::command_line();
        assert!(folder.path().join("man/tcpstate.1").exists());
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            let page = folder.path().join(format!("man/tcpstate-{name}.1"));
            let page = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
            // Roff writes a hyphen as `\-`.
            let shown = subcommand.get_arguments().filter(|argument| !argument.is_hide_set());
            for flag in shown.filter_map(clap::Arg::get_long) {
                let flag = format!("\\-\\-{}", flag.replace('-', "\\-"));
                assert!(page.contains(&flag), "{name}: {flag}: {page}");
            }
            assert!(page.contains("Examples:"), "{name}: {page}");
        }
    }

    #[test]
    fn bash_completes_subcommands_and_flags() {
        let folder = dist();
        let script = folder.path().join("completions/tcpstate.bash");
        for (words, completed) in [("tcpstate tr", "trace"), ("tcpstate check --li", "--live")] {
            let line = format!(
                "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
                 _tcpstate tcpstate \"${{COMP_WORDS[COMP_CWORD]}}\" x; echo \"${{COMPREPLY[@]}}\"",
                script.display()
            );
            let output = Command::new("bash").args(["-c", &line]).output().expect("bash starts");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), completed, "{words}");
        }
        assert!(folder.path().join("completions/_tcpstate").exists());
        assert!(folder.path().join("completions/tcpstate.fish").exists());
    }
}
