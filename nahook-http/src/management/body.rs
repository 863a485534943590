//! Bodies: one JSON object each.
#![expect(
    clippy::option_option,
    reason = "a field may be absent, null or given, and each is something else"
)]

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::error::Category;

use crate::ApiError;

/// Arguments in a body.
pub(super) trait BodyArgs: Sized + Send {
    /// True if a body is read at all.
    const IS_READ: bool = true;

    /// Reads the body.
    fn read(json: &[u8]) -> Result<Self, ApiError>;
}

/// A body that is not looked at.
#[derive(Debug)]
pub(super) struct NoBody;

impl BodyArgs for NoBody {
    const IS_READ: bool = false;

    fn read(_: &[u8]) -> Result<Self, ApiError> {
        Ok(Self)
    }
}

impl<T: DeserializeOwned + Send> BodyArgs for T {
    fn read(json: &[u8]) -> Result<Self, ApiError> {
        let json = json.trim_ascii();
        // No body, and the empty list that PHP makes of an empty map, stand for an empty object.
        let is_empty = json.is_empty()
            || (json.first() == Some(&b'[')
                && json.last() == Some(&b']')
                && json[1..json.len() - 1].trim_ascii().is_empty());
        let json = if is_empty { b"{}" } else { json };
        // Structures would also read a list of their fields' values.
        if json.first() != Some(&b'{') {
            return Err(
                match serde_json::from_slice::<serde::de::IgnoredAny>(json) {
                    Ok(_) => ApiError::validation("the body must be a JSON object"),
                    Err(_) => ApiError::validation("the body is not valid JSON"),
                },
            );
        }
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let read = serde_path_to_error::deserialize(&mut deserializer);
        let read = read.map_err(|error| match error.inner().classify() {
            Category::Data => explain(&error),
            _ => ApiError::validation("the body is not valid JSON"),
        })?;
        deserializer
            .end()
            .map_err(|_| ApiError::validation("the body is not valid JSON"))?;
        Ok(read)
    }
}

/// Tells a field that is absent from one that is null: `#[serde(default, deserialize_with = "given")]`.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Says which field is wrong and what is expected, and nothing of what was sent: it may be a secret.
pub(super) fn explain<E: std::error::Error>(error: &serde_path_to_error::Error<E>) -> ApiError {
    let text = error.inner().to_string();
    let path = error.path().to_string();
    let field = if path == "." { "the body" } else { &path };
    if let Some(name) = quoted(&text, "missing field `") {
        return ApiError::validation(format!("{name} is required"));
    }
    if let Some(name) = quoted(&text, "duplicate field `") {
        return ApiError::validation(format!("{name} is given twice"));
    }
    // Only our own words follow the last "expected": what was sent stands before it.
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| {
        expected
            .rsplit_once(" at line ")
            .map_or(expected, |(expected, _)| expected)
    });
    match expected {
        Some(expected) => ApiError::validation(format!("{field} must be {}", plain(expected))),
        None => ApiError::validation(format!("{field} is not as it must be")),
    }
}

/// Names a type in words for people who do not write Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "u64" => "a whole number, 0 or more",
        other => other,
    }
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?
        .split_once('`')
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Args {
        name: String,
        #[serde(default)]
        is_active: Option<bool>,
        #[serde(default, deserialize_with = "given")]
        cap: Option<Option<u64>>,
    }

    fn message(json: &str) -> String {
        let error = Args::read(json.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "validation_error");
        error.message().to_owned()
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        assert_eq!(message(r#"{"name":1}"#), "name must be a string");
        assert_eq!(
            message(r#"{"name":"a","isActive":"s3cret, expected x"}"#),
            "isActive must be a boolean"
        );
        assert_eq!(
            message(r#"{"name":"a","cap":-1}"#),
            "cap must be a whole number, 0 or more"
        );
        assert_eq!(message("{}"), "name is required");
        assert_eq!(message(""), "name is required");
        assert_eq!(message("[ ]"), "name is required");
        assert_eq!(message(r#"{"name":"a","name":"b"}"#), "name is given twice");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["null", "1", r#""a""#, r#"["a"]"#, "[[]]"] {
            assert_eq!(message(json), "the body must be a JSON object", "{json}");
        }
        for json in ["{", "x", r#"{"name":"a"}}"#, "[", r#"{"name":"a"} x"#, "]"] {
            assert_eq!(message(json), "the body is not valid JSON", "{json}");
        }
        assert_eq!(
            Args::read(b"{\"name\":\"\xff\"}").unwrap_err().message(),
            "the body is not valid JSON"
        );
    }

    #[test]
    fn absent_is_not_null() {
        let cap = |json: &str| Args::read(json.as_bytes()).unwrap().cap;
        assert_eq!(cap(r#"{"name":"a"}"#), None);
        assert_eq!(cap(r#"{"name":"a","cap":null}"#), Some(None));
        assert_eq!(cap(r#"{"name":"a","cap":7}"#), Some(Some(7)));
        let args = Args::read(br#" {"name":"a","isActive":null,"other":1} "#).unwrap();
        assert_eq!((args.name.as_str(), args.is_active), ("a", None));
    }
}
