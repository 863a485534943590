//! The command line of `nahook`, asked without the environment.

use std::collections::BTreeSet;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _};
use nahook_server::cli::Cli;

/// The program's command line, in which nothing comes from the environment.
pub(crate) fn command() -> Command {
    fn bare(command: Command) -> Command {
        command
            .mut_args(|argument| match argument.get_env() {
                // What the environment may bring need not be an argument.
                Some(_) => argument.env(None::<&'static str>).required(false),
                None => argument,
            })
            .mut_subcommands(bare)
    }
    bare(Cli::command())
}

/// Refuses arguments that the program does not take. Where they are `whole` nothing may be missing either.
pub(crate) fn check(arguments: &[String], is_whole: bool) -> Result<(), String> {
    let words = std::iter::once("nahook".to_owned()).chain(arguments.iter().cloned());
    match command().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if !is_whole =>
            {
                Ok(())
            }
            _ => Err(error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()),
        },
    }
}

/// The words that lead to each command, with the command.
pub(crate) fn commands() -> Vec<(Vec<String>, Command)> {
    fn collect(path: &[String], command: &Command, into: &mut Vec<(Vec<String>, Command)>) {
        into.push((path.to_vec(), command.clone()));
        for subcommand in command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
        {
            let path = [path, &[subcommand.get_name().to_owned()]].concat();
            collect(&path, subcommand, into);
        }
    }
    let mut all = Vec::new();
    let mut command = Cli::command();
    command.build();
    collect(&[], &command, &mut all);
    all
}

/// The settings: the arguments of `nahook serve`, in their order.
pub(crate) fn settings() -> Vec<Arg> {
    let serve = commands()
        .into_iter()
        .find(|(path, _)| *path == ["serve"])
        .unwrap()
        .1;
    let is_setting = |argument: &&Arg| argument.get_id() != "help";
    serve.get_arguments().filter(is_setting).cloned().collect()
}

/// Every variable of the environment that the command line reads.
pub(crate) fn variables() -> BTreeSet<String> {
    let of = |command: &Command| -> Vec<String> {
        let variables = command.get_arguments().filter_map(Arg::get_env);
        variables
            .map(|it| it.to_str().unwrap().to_owned())
            .collect()
    };
    commands()
        .iter()
        .flat_map(|(_, command)| of(command))
        .collect()
}

/// An argument's text without its default, and the default.
pub(crate) fn help(argument: &Arg) -> (String, Option<String>) {
    let text = argument.get_help().unwrap().to_string();
    if let Some((text, default)) = text.rsplit_once(" [default: ") {
        let default = default.strip_suffix(']').unwrap();
        return (text.to_owned(), Some(default.to_owned()));
    }
    let default = argument.get_default_values().first();
    (text, default.map(|it| it.to_string_lossy().into_owned()))
}
