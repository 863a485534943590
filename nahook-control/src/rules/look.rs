//! The look of a portal session, which it has as labels: clients that know nothing of it can send them.

use std::collections::BTreeMap;

use super::table::LINE;
use super::{Broken, Text};

/// Label of a portal session with the name at the top of its pages.
pub const PORTAL_NAME: &str = "portal_name";
/// Label with one to three characters before that name.
pub const PORTAL_LOGO: &str = "portal_logo";
/// Label with the colour of the line at the top.
pub const PORTAL_ACCENT: &str = "portal_accent";

const NAME: Text = Text { max: 60, ..LINE };
const LOGO: Text = Text { max: 3, ..LINE };

/// Returns true if the text is a colour: `#` and six hexadecimal digits.
pub fn is_colour(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Checks the labels of a portal session that are its look.
pub(crate) fn check_look(labels: &BTreeMap<String, String>) -> Result<(), Broken> {
    for (label, text) in [(PORTAL_NAME, NAME), (PORTAL_LOGO, LOGO)] {
        if labels.get(label).is_some_and(|it| !text.allows(it)) {
            return Err(broken(label, &format!("has {text}")));
        }
    }
    let accent = labels.get(PORTAL_ACCENT);
    if accent.is_some_and(|accent| !is_colour(accent)) {
        let rule = "is # and six hexadecimal digits, such as #2f6feb";
        return Err(broken(PORTAL_ACCENT, rule));
    }
    Ok(())
}

fn broken(label: &str, rule: &str) -> Broken {
    Broken {
        field: None,
        text: format!("metadata.{label} {rule}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_of_a_portal_session_is_bounded() {
        let allows = |label: &str, value: &str| {
            let labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
            check_look(&labels).is_ok()
        };
        let long = "ä".repeat(60);
        for (label, value, is_allowed) in [
            (PORTAL_NAME, &*long, true),
            (PORTAL_NAME, &format!("{long}x"), false),
            (PORTAL_NAME, "<b>Acme</b>", true),
            (PORTAL_NAME, " ", false),
            (PORTAL_NAME, "a\nb", false),
            (PORTAL_LOGO, "⚡⚡⚡", true),
            (PORTAL_LOGO, "four", false),
            (PORTAL_LOGO, "", false),
            (PORTAL_ACCENT, "#2F6feb", true),
            (PORTAL_ACCENT, "", false),
            (PORTAL_ACCENT, "red", false),
            (PORTAL_ACCENT, "#2f6fe", false),
            (PORTAL_ACCENT, "2f6feb0", false),
            (PORTAL_ACCENT, "#2f6feg", false),
            (PORTAL_ACCENT, "#2f6feb;}", false),
            ("another", "anything\n", true),
        ] {
            assert_eq!(allows(label, value), is_allowed, "{label} {value}");
        }
    }
}
