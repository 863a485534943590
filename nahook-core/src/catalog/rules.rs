//! Which values are allowed, whoever declares them; each rule answers what is wrong.

/// How many environments a workspace may have (contract, section 2).
pub(crate) const ENVIRONMENTS_MAX: usize = 10;

/// What is wrong with a Slack endpoint that [`slack_url`] finds no URL for.
pub(crate) const SLACK_URL_REQUIRED: &str = "config.webhookUrl is required for a slack endpoint";

/// Where a Slack endpoint is delivered to, as its configuration says (contract, section 3).
pub(crate) fn slack_url(config: &serde_json::Map<String, serde_json::Value>) -> Option<&str> {
    config.get("webhookUrl").and_then(serde_json::Value::as_str)
}

/// What is wrong with what [`is_name`] does not hold for.
pub(crate) const NAME: &str =
    "a name and an external id have 1 to 255 characters, not only blanks and no control characters";

/// What is wrong with a number that [`is_cap`] does not hold for.
pub(crate) const CAP: &str = "max_endpoints is 0 to 2147483647";

/// Whether it can be the name or the external id of an application, or the name of a key. A control character is refused:
/// not every store keeps each of them, and no list shows them well.
pub(crate) fn is_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.chars().count() <= NAME_LEN_MAX
        && !name.chars().any(char::is_control)
}

/// Whether an application may have so many endpoints: clients keep it in 32 bits with a sign.
pub(crate) fn is_cap(max_endpoints: u32) -> bool {
    i32::try_from(max_endpoints).is_ok()
}

/// Longest name and external id in characters.
pub(crate) const NAME_LEN_MAX: usize = 255;

/// Longest URL in bytes.
const URL_LEN_MAX: usize = 2048;

/// Where to POST to: something that a delivery can be attempted at.
pub(crate) fn endpoint_url(url: &str) -> Option<&'static str> {
    let authority = url.split_once("://").and_then(|(scheme, rest)| {
        let is_known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        is_known.then(|| rest.split(['/', '?', '#']).next().unwrap_or_default())
    });
    if url.len() > URL_LEN_MAX {
        return Some("its URL has more than 2048 bytes");
    }
    if authority.is_none_or(str::is_empty) {
        return Some("its URL must be an http or https URL");
    }
    if authority.is_some_and(|authority| authority.contains('@')) {
        Some("its URL must not hold credentials: give a user name and a password")
    } else if authority.is_some_and(has_impossible_port) {
        Some("its URL has a port that cannot be")
    } else if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some("its URL contains white space")
    } else {
        None
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

/// Whether what follows the last colon, outside of an IPv6 address, is no port.
fn has_impossible_port(authority: &str) -> bool {
    let after_address = authority.rsplit(']').next().unwrap_or_default();
    after_address.split_once(':').is_some_and(|(_, port)| {
        port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_never_be_delivered_to_are_refused() {
        for good in [
            "http://a",
            "HTTPS://a.example:443/x?y=1",
            "http://[::1]:80/",
            "http://[::1]",
            "http://a/b:c@d",
        ] {
            assert_eq!(endpoint_url(good), None, "{good}");
        }
        for bad in [
            "",
            "ftp://a",
            "http://",
            "http:///x",
            "http://u:p@a/",
            "http://a:0/",
            "http://a:99999",
            "http://a:x/",
            "http://a b",
        ] {
            assert!(endpoint_url(bad).is_some(), "{bad}");
        }
        let long = format!("http://a/{}", "x".repeat(2048));
        assert!(endpoint_url(&long).is_some());
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
