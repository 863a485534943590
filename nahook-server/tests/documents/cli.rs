//! The page of the command line is what the program says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::pages::{check_page, row};
use crate::program;

fn page() -> String {
    let settings: BTreeSet<_> = program::settings()
        .iter()
        .map(|it| it.get_id().clone())
        .collect();
    let mut page = String::from(
        "Every command of `nahook`. Commands that work on the store itself take the [settings](settings.md) that say where it is, \
         before the name of a subcommand. The others ask a running server.\n",
    );
    for (path, mut command) in program::commands() {
        let name = [&["nahook".to_owned()], path.as_slice()].concat().join(" ");
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").trim();
        let _ = write!(page, "\n## {name}\n\n{about}.\n\n```text\n{usage}\n```\n");
        if takes_settings(&command) {
            page.push_str("\nTakes the [settings](settings.md).\n");
        }
        arguments(&mut page, &command, &settings);
    }
    page
}

/// Returns true if it takes the settings: then it takes the name of their file.
fn takes_settings(command: &Command) -> bool {
    command.get_arguments().any(|it| it.get_id() == "config")
}

fn arguments(page: &mut String, command: &Command, settings: &BTreeSet<clap::Id>) {
    let is_own = |it: &&Arg| {
        let is_setting = takes_settings(command) && settings.contains(it.get_id());
        !is_setting && !["help", "version"].contains(&it.get_id().as_str())
    };
    let own: Vec<_> = command.get_arguments().filter(is_own).collect();
    if own.is_empty() {
        return;
    }
    page.push('\n');
    row(page, &["argument", "environment", "default", "meaning"]);
    row(page, &["---"; 4]);
    for argument in own {
        let values = argument.get_value_names().unwrap_or_default();
        let value = values.first().map(ToString::to_string).unwrap_or_default();
        let name = match argument.get_long() {
            Some(long) if argument.get_action().takes_values() => format!("`--{long} {value}`"),
            Some(long) => format!("`--{long}`"),
            None => format!("`{value}`"),
        };
        let (meaning, default) = program::help(argument);
        let variable = argument
            .get_env()
            .map(|it| format!("`{}`", it.to_string_lossy()));
        let default = default.filter(|_| argument.get_action().takes_values());
        let default = default.map(|it| format!("`{it}`"));
        let none = || "–".to_owned();
        let (variable, default) = (variable.unwrap_or_else(none), default.unwrap_or_else(none));
        row(page, &[&name, &variable, &default, &meaning]);
    }
}

#[test]
fn page_of_the_command_line_is_what_the_program_says() {
    check_page("cli.md", "Command line", &page());
}
