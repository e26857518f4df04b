//! Bad usage, told as all else is: what is wrong and where in one line, what helps in a second.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::text::escaped;

/// What to print, if it is an error at all: help and versions are not, nor is the help that comes when nothing was
/// asked for.
pub(super) fn lines(error: &clap::Error) -> Option<[String; 2]> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return None;
    }
    let mut text = error.to_string();
    // What was typed is repeated, line ends and all.
    for (_, typed) in error.context() {
        if let ContextValue::String(typed) = typed
            && !typed.is_empty()
        {
            text = text.replace(typed.as_str(), &escaped(typed));
        }
    }
    // The first paragraph, without what the second line is to say.
    let cause = text.lines().take_while(|line| !line.is_empty());
    let cause = cause.map(str::trim).filter(|line| !line.starts_with('[')).collect::<Vec<_>>();
    let cause = cause.join(" ");
    let cause = cause.strip_prefix("error: ").unwrap_or(&cause);
    // Not all of that is in the context; nor need the library know what acts on a terminal.
    Some([format!("tcpstate: {cause}"), format!("help: {}", help(error))].map(escaped))
}

fn help(error: &clap::Error) -> String {
    let others = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::ValidValue,
        ContextKind::ValidSubcommand,
    ];
    others
        .into_iter()
        .find_map(|kind| match error.get(kind)? {
            ContextValue::String(name) => Some(format!("did you mean {name}?")),
            ContextValue::Strings(names) if names.len() == 1 => {
                Some(format!("did you mean {}?", names[0]))
            }
            ContextValue::Strings(names) if !names.is_empty() => {
                Some(format!("one of {}", names.join(", ")))
            }
            _ => None,
        })
        .unwrap_or_else(|| "--help says what it takes".into())
}
