//! Settings in documents exist, and the page of settings is what the command line says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Arg;
use nahook_server::settings::SettingsArgs;

use crate::markdown::Document;
use crate::pages::{check_page, row};
use crate::source::{names, names_in_code};
use crate::{check_documents, problems, program};

/// Returns the problems of the settings that a document names.
fn check_settings(document: &Document) -> Vec<(usize, String)> {
    let mut known = names_in_code();
    known.extend(program::variables());
    let mut wrong = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        for name in names(line).into_iter().filter(|it| !it.ends_with('_')) {
            if !known.contains(name) {
                wrong.push((index + 1, format!("nothing reads {name}")));
            }
        }
    }
    for (line, code) in document.spans() {
        if code.starts_with("--") && !is_taken(&code) {
            wrong.push((line, format!("no command takes {code}")));
        }
    }
    for block in document.blocks() {
        // A settings file says so in its first line.
        if block.language == "toml" && block.text.starts_with("# nahook.toml") {
            let resolved = resolve(&block.text);
            wrong.extend(resolved.err().map(|problem| (block.line, problem)));
        }
    }
    wrong
}

/// Returns true if some command takes the flag, with that value if there is one.
fn is_taken(code: &str) -> bool {
    let (flag, value) = code.split_once([' ', '=']).unwrap_or((code, ""));
    // A value in capitals stands for any.
    let is_any = value.chars().all(|it| it.is_ascii_uppercase() || it == '_');
    let long = flag.trim_start_matches("--");
    program::commands().into_iter().any(|(path, command)| {
        let words = code.split_whitespace().map(str::to_owned);
        let words = path.into_iter().chain(words).collect::<Vec<_>>();
        let mut arguments = command.get_arguments();
        arguments.any(|it| it.get_long() == Some(long))
            && (is_any || program::check(&words, false).is_ok())
    })
}

/// Reads a settings file; the error is what the program says.
fn resolve(text: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("nahook.toml");
    std::fs::write(&config, text).unwrap();
    let arguments = SettingsArgs {
        config: Some(config),
        ..SettingsArgs::default()
    };
    arguments
        .resolve()
        .map(drop)
        .map_err(|error| error.report())
}

/// The tables of a settings file.
const TABLES: [&str; 4] = ["postgres", "nats", "pressure", "tls"];

/// Returns the place of a setting in a file: its table, if it is in one, and its name.
fn place(argument: &Arg) -> Option<(&'static str, String)> {
    let id = argument.get_id().as_str();
    let within = |table| Some((table, id.strip_prefix(table)?.strip_prefix('_')?.to_owned()));
    match id {
        "config" => None,
        _ => TABLES
            .into_iter()
            .find_map(within)
            .or(Some(("", id.to_owned()))),
    }
}

fn page() -> String {
    let mut page = String::from(
        "Settings of `nahook serve`. A flag goes before the environment, the environment before the file that `--config` names, the file \
         before the default. A setting that is set and empty is unset.\n\n\
         `RUST_LOG` chooses what is logged, `info` if it is not set: refusals and failures. \
         `info,nahook_http=debug,nahook_delivery=debug` adds a line for each success.\n",
    );
    let mut heading = None;
    for argument in program::settings() {
        if heading.as_deref() != Some(argument.get_help_heading().unwrap_or("Always")) {
            let next = argument.get_help_heading().unwrap_or("Always");
            heading = Some(next.to_owned());
            let _ = write!(page, "\n## {next}\n\n");
            row(
                &mut page,
                &["setting", "environment", "in a file", "default", "meaning"],
            );
            row(&mut page, &["---"; 5]);
        }
        let (mut meaning, default) = program::help(&argument);
        let values = argument.get_possible_values();
        let values: Vec<_> = values
            .iter()
            .filter_map(|it| Some(format!("`{}`: {}", it.get_name(), it.get_help()?)))
            .collect();
        if !values.is_empty() {
            let _ = write!(meaning, ". {}", values.join(". "));
        }
        let in_file = match place(&argument) {
            None => "–".to_owned(),
            Some(("", name)) => format!("`{name}`"),
            Some((table, name)) => format!("`[{table}]` `{name}`"),
        };
        row(
            &mut page,
            &[
                &format!("`--{}`", argument.get_long().unwrap()),
                &format!("`{}`", argument.get_env().unwrap().to_str().unwrap()),
                &in_file,
                &default.map_or("–".to_owned(), |it| it),
                &meaning,
            ],
        );
    }
    page
}

#[test]
fn every_setting_exists() {
    check_documents(check_settings);
}

#[test]
fn page_of_settings_is_what_the_command_line_says() {
    check_page("settings.md", "Settings", &page());
}

#[test]
fn settings_file_takes_what_the_page_names_and_nothing_else() {
    for table in [""].into_iter().chain(TABLES) {
        let opening = if table.is_empty() {
            String::new()
        } else {
            format!("[{table}]\n")
        };
        let refused = resolve(&format!("{opening}no_such_setting = 1\n")).unwrap_err();
        let (_, expected) = refused
            .split_once("expected one of")
            .or(refused.split_once("expected"))
            .unwrap();
        let taken: BTreeSet<_> = expected
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        let places = program::settings();
        let places = places
            .iter()
            .filter_map(place)
            .filter(|(of, _)| *of == table);
        let mut named: BTreeSet<_> = places.map(|(_, name)| name).collect();
        if table.is_empty() {
            named.extend(TABLES.map(str::to_owned));
        }
        assert_eq!(taken, named, "[{table}]");
    }
}

#[test]
fn wrong_settings_are_found() {
    for wrong in [
        "`--no-such-setting`",
        "`--no-such-setting=1`",
        "`--role nobody`",
        "set NAHOOK_NO_SUCH_SETTING to 1",
        "```sh\nNAHOOK_NO_SUCH_SETTING=1 x\n```",
        "```toml\n# nahook.toml\nno_such_setting = 1\n```",
    ] {
        assert_eq!(problems(wrong, check_settings).len(), 1, "{wrong}");
    }
    let right = "`--role ingest` `--workspace` NAHOOK_STORE NAHOOK_RETRIES NAHOOK_CRASH_ROUNDS NAHOOK_* [toml]\n\
                 ```toml\n[workspace]\n```";
    assert_eq!(problems(right, check_settings), [] as [&str; 0]);
}
