//! Settings that are set and empty, as compose files and scripts leave them: they are taken for unset.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

use clap::Command;

/// The arguments without settings that have no value, and the command that passes over empty environment variables.
pub(crate) fn without_empty(
    command: Command,
    arguments: impl Iterator<Item = OsString>,
) -> (Command, Vec<OsString>) {
    let mut names = HashSet::new();
    let command = pass_over_empty(command, &mut names);
    let mut kept = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let is_empty = match text.strip_prefix("--") {
            Some(flag) if names.contains(flag) => {
                arguments.next_if(|value| value.is_empty()).is_some()
            }
            Some(flag) => flag
                .strip_suffix('=')
                .is_some_and(|flag| names.contains(flag)),
            None => false,
        };
        if !is_empty {
            kept.push(argument);
        }
    }
    (command, kept)
}

/// Collects the names of the settings: the flags that an environment variable can stand for.
fn pass_over_empty(command: Command, names: &mut HashSet<String>) -> Command {
    let mut names_below = HashSet::new();
    let command = command.mut_args(|argument| {
        let Some(variable) = argument.get_env() else {
            return argument;
        };
        names_below.extend(argument.get_long().map(str::to_owned));
        if is_empty(variable) {
            argument.env(None::<&'static str>)
        } else {
            argument
        }
    });
    names.extend(names_below);
    command.mut_subcommands(|subcommand| pass_over_empty(subcommand, names))
}

fn is_empty(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn flags_with_empty_values_are_dropped_and_others_stay() {
        for (given, kept) in [
            ("serve --queue  --listen=", "serve"),
            ("serve --sample= --role worker", "serve --role worker"),
            ("serve --sample  --role worker", "serve --role worker"),
            (
                "serve --sample --role worker",
                "serve --sample --role worker",
            ),
            ("keys create  --data-dir d", "keys create  --data-dir d"),
            ("trigger a --payload  --url ", "trigger a --payload "),
        ] {
            let arguments = given.split(' ').map(OsString::from);
            let (_, arguments) = without_empty(Cli::command(), arguments);
            assert_eq!(arguments.join(OsStr::new(" ")), kept, "{given}");
        }
    }
}
