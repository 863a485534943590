//! Which values are allowed, whoever declares them; each rule answers what is wrong.

use nahook_core::{Metadata, MetadataError};
use serde_json::{Map, Value};

use super::secrets;
use crate::{EndpointUrl, EndpointUrlError};
use crate::{
    limits::CONFIG_DEPTH_MAX, limits::CONFIG_KEYS_MAX, limits::CONFIG_LEN_MAX,
    limits::DESCRIPTION_LEN_MAX, limits::NAME_LEN_MAX, limits::PASSWORD_LEN_MAX,
    limits::SECRET_LEN_MAX, limits::USERNAME_LEN_MAX,
};

/// What is wrong with a Slack endpoint that [`slack_url`] finds no URL for.
pub(crate) const SLACK_URL_REQUIRED: &str = "config.webhookUrl is required for a slack endpoint";

/// Where a Slack endpoint is delivered to, as its configuration says (contract, section 3).
pub(crate) fn slack_url(config: &Map<String, Value>) -> Option<&str> {
    config.get("webhookUrl").and_then(Value::as_str)
}

/// What is wrong with what [`is_name`] does not hold for.
pub(crate) const NAME: &str =
    "a name and an external id have 1 to 255 characters, not only blanks and no control characters";

/// What is wrong with a number that [`is_cap`] does not hold for.
pub(crate) const CAP: &str = "max_endpoints is 0 to 2147483647";

/// Returns true if it can be the name or the external id of an application, or the name of a key. A control character is refused:
/// not every store keeps each of them, and no list shows them well.
pub(crate) fn is_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.chars().count() <= NAME_LEN_MAX
        && !name.chars().any(char::is_control)
}

/// Returns true if an application may have so many endpoints: clients keep it in 32 bits with a sign.
pub(crate) fn is_cap(max_endpoints: u32) -> bool {
    i32::try_from(max_endpoints).is_ok()
}

/// Where to POST to: something that a delivery can be attempted at.
pub(crate) fn endpoint_url(url: &str) -> Option<&'static str> {
    url.parse::<EndpointUrl>().err().map(EndpointUrlError::rule)
}

/// The labels of an endpoint or an application, where they were read as they are stored.
pub(crate) fn metadata(labels: &Metadata) -> Result<(), MetadataError> {
    Metadata::check(labels.as_map(), Metadata::KEYS_MAX)
}

/// The settings of a kind of endpoint.
pub(crate) fn config(config: &Map<String, Value>) -> Option<&'static str> {
    let mut keys = 0;
    if !is_within(config.values(), 1, &mut keys) || keys + config.len() > CONFIG_KEYS_MAX {
        return Some("config has at most 64 fields, nested 8 deep");
    }
    let len = serde_json::to_string(config).map_or(usize::MAX, |json| json.len());
    (len > CONFIG_LEN_MAX).then_some("config has at most 8,192 bytes of JSON")
}

/// Counts the fields in `values`, which lie so deep; false if one lies too deep.
fn is_within<'a>(values: impl Iterator<Item = &'a Value>, depth: usize, keys: &mut usize) -> bool {
    if depth > CONFIG_DEPTH_MAX {
        return false;
    }
    let mut values = values;
    values.all(|value| match value {
        Value::Array(items) => is_within(items.iter(), depth + 1, keys),
        Value::Object(fields) => {
            *keys += fields.len();
            is_within(fields.values(), depth + 1, keys)
        }
        _ => true,
    })
}

/// A text for people. NUL is refused, since not every store can keep it.
pub(crate) fn description(text: &str) -> Option<&'static str> {
    if text.chars().count() > DESCRIPTION_LEN_MAX {
        Some("description has at most 1024 characters")
    } else {
        text.contains('\0')
            .then_some("description must not contain the character NUL")
    }
}

/// RFC 7617: a user name holds no colon, and neither text a control character.
pub(crate) fn basic_auth(username: &str, password: &str) -> Option<&'static str> {
    let is_bad = username.is_empty()
        || username.contains(':')
        || username
            .chars()
            .chain(password.chars())
            .any(char::is_control);
    if is_bad {
        Some(
            "the user name must not be empty or contain a colon, and neither it nor the password a control character",
        )
    } else if username.chars().count() > USERNAME_LEN_MAX {
        Some("the user name has at most 255 characters")
    } else {
        let is_long = password.chars().count() > PASSWORD_LEN_MAX;
        is_long.then_some("the password has at most 1,024 characters")
    }
}

/// A signing secret that was given.
pub(crate) fn signing_secret(secret: &str) -> Option<&'static str> {
    let is_fine = secret.len() <= SECRET_LEN_MAX && secrets::signing_secret_is_valid(secret);
    (!is_fine).then_some("its secret must be whsec_ followed by base64, 512 bytes at most")
}

/// A key or token that was given: it is sent in a header, and looked up as a whole.
pub(crate) fn given_key(key: &str, prefix: &str) -> Option<&'static str> {
    if key.starts_with(prefix) {
        let is_fine = key.len() <= SECRET_LEN_MAX && key.bytes().all(|b| b.is_ascii_graphic());
        (!is_fine).then_some("a given secret has at most 512 bytes, all of them visible ASCII")
    } else {
        Some("a given secret must begin with the prefix of its kind")
    }
}

/// An environment's name in URLs and manifests.
pub(crate) fn environment_slug(slug: &str) -> Option<&'static str> {
    let is_fine = (2..=50).contains(&slug.len())
        && slug
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (!is_fine).then_some("a slug is 2 to 50 lower-case letters, digits and hyphens")
}

/// An environment's name for people.
pub(crate) fn environment_name(name: &str) -> Option<&'static str> {
    let is_fine = (1..=50).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    (!is_fine).then_some("a name has 1 to 50 characters, none of them a control character")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: Value) -> Map<String, Value> {
        serde_json::from_value(json).unwrap()
    }

    /// A configuration so deep, its innermost object empty.
    fn nested(depth: usize) -> Map<String, Value> {
        let inner = (1..depth).fold(
            serde_json::json!({}),
            |inner, _| serde_json::json!({"a": inner}),
        );
        object(inner)
    }

    #[test]
    fn configurations_are_bounded_in_bytes_depth_and_fields() {
        let fields = |count: usize| (0..count).map(|n| (n.to_string(), Value::Null)).collect();
        assert_eq!(config(&fields(64)), None);
        assert!(config(&fields(65)).is_some());
        let inner: Map<_, _> = fields(64);
        assert!(config(&object(serde_json::json!({"a": [inner]}))).is_some());
        assert_eq!(config(&nested(8)), None);
        assert!(config(&nested(9)).is_some());
        assert!(config(&object(serde_json::json!({"a": [[[[[[[[1]]]]]]]]}))).is_some());
        let long = |len: usize| object(serde_json::json!({"a": "x".repeat(len - 8)}));
        assert_eq!(config(&long(8_192)), None);
        assert!(config(&long(8_193)).is_some());
    }

    #[test]
    fn descriptions_and_authentication_have_their_lengths() {
        assert_eq!(description(&"ä".repeat(1_024)), None);
        assert!(description(&"x".repeat(1_025)).is_some());
        assert!(description("a\0").is_some());
        assert_eq!(basic_auth(&"ä".repeat(255), &"ä".repeat(1_024)), None);
        for (username, password) in [
            ("", "p"),
            ("u:", "p"),
            ("u\n", "p"),
            ("u", "p\u{7f}"),
            (&"x".repeat(256), "p"),
            ("u", &"x".repeat(1_025)),
        ] {
            assert!(basic_auth(username, password).is_some());
        }
    }

    #[test]
    fn given_secrets_have_their_shapes() {
        let secret = |len: usize| format!("whsec_{}", "AAAA".repeat((len - 6) / 4));
        assert_eq!(signing_secret(&secret(510)), None);
        for bad in ["whsec_", "AAAA", "whsec_*", &secret(514)] {
            assert!(signing_secret(bad).is_some(), "{bad}");
        }
        let key = |len: usize| format!("nhk_{}", "x".repeat(len - 4));
        assert_eq!(given_key(&key(512), "nhk_"), None);
        for bad in ["x", "nhk_a b", "nhk_ä", "nhk_\n", &key(513)] {
            assert!(given_key(bad, "nhk_").is_some(), "{bad}");
        }
    }

    #[test]
    fn slugs_and_names_have_their_lengths() {
        for good in ["ab", "a-1", &"x".repeat(50)] {
            assert_eq!(environment_slug(good), None, "{good}");
        }
        for bad in ["", "a", "A1", "a_b", "ä1", &"x".repeat(51)] {
            assert!(environment_slug(bad).is_some(), "{bad}");
        }
        assert_eq!(environment_name(&"ä".repeat(50)), None);
        assert!(environment_name("").is_some());
        assert!(environment_name("a\0b").is_some());
        assert!(environment_name(&"x".repeat(51)).is_some());
    }
}
