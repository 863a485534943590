//! Text files that people write.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::ServerError;

/// Reads a file, without the byte order mark that some editors begin it with.
pub(crate) fn read(path: &Path) -> Result<String, ServerError> {
    let text = std::fs::read_to_string(path).map_err(|error| ServerError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(without_mark(text))
}

/// Reads a file that holds one secret, without the white space around it.
pub(crate) fn read_secret(path: &Path) -> Result<String, ServerError> {
    Ok(read(path)?.trim().to_owned())
}

/// The text without a byte order mark.
pub(crate) fn without_mark(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Reads a TOML file. Its error names the line and the key, and never quotes the line, which may hold a secret.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ServerError> {
    read_by(path, |text| toml::from_str(text))
}

/// Reads a TOML file of settings, like [`read_toml`]. One that is set and empty is unset, whatever its type.
pub(crate) fn read_settings<T: DeserializeOwned>(path: &Path) -> Result<T, ServerError> {
    read_by(path, parse_settings)
}

fn read_by<T>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, toml::de::Error>,
) -> Result<T, ServerError> {
    let text = read(path)?;
    parse(&text).map_err(|error| ServerError::File {
        path: path.to_owned(),
        reason: place_and_message(&text, &error),
    })
}

fn parse_settings<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    let mut table = DeTable::parse(text)?;
    remove_empty(table.get_mut());
    T::deserialize(toml::Deserializer::from(table))
}

fn remove_empty(table: &mut DeTable<'_>) {
    for (key, mut value) in std::mem::take(table) {
        match value.get_mut() {
            DeValue::String(text) if text.is_empty() => continue,
            DeValue::Table(table) => remove_empty(table),
            _ => {}
        }
        table.insert(key, value);
    }
}

fn place_and_message(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return error.message().to_owned();
    };
    let line = before.matches('\n').count() + 1;
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let key = begun.rsplit_once('=').map_or(begun, |(key, _)| key);
    let key = key.rsplit(['{', ',']).next().unwrap_or_default().trim();
    let is_key = !key.is_empty()
        && key
            .chars()
            .all(|it| it.is_alphanumeric() || "_-.".contains(it));
    if is_key {
        format!("line {line}, {key}: {}", error.message())
    } else {
        format!("line {line}: {}", error.message())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn reason(text: &str) -> String {
        let parsed: Result<toml::Table, _> = toml::from_str(text);
        place_and_message(text, &parsed.unwrap_err())
    }

    #[test]
    fn error_names_the_line_and_the_key() {
        let told = reason("a = 1\nnested = { secret_key = }\n");
        assert!(told.starts_with("line 2, secret_key: "), "{told}");
    }

    #[test]
    fn empty_settings_are_unset_and_errors_behind_them_keep_their_place() {
        let text = "a = ''\nb = ' '\n[c]\nd = \"\"\ne = 1\n";
        let settings: toml::Table = parse_settings(text).unwrap();
        let expected: toml::Table = toml::from_str("b = ' '\n[c]\ne = 1\n").unwrap();
        assert_eq!(settings, expected);
        let text = "a = ''\nb = true\n";
        let refused = parse_settings::<BTreeMap<String, u32>>(text).unwrap_err();
        let told = place_and_message(text, &refused);
        assert!(told.starts_with("line 2, b: "), "{told}");
    }

    #[test]
    fn error_never_quotes_the_line() {
        let told = reason("url = 'postgres://a:hunter2@b/\n");
        assert!(
            told.contains("line 1") && !told.contains("hunter2"),
            "{told}"
        );
        let told = reason("password = hunter2\n");
        assert!(
            told.contains("line 1") && !told.contains("hunter2"),
            "{told}"
        );
    }
}
