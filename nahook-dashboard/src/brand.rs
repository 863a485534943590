//! Name and colour of the portal.

use std::collections::BTreeMap;
use std::str::FromStr;

use nahook_control::rules::{PORTAL_ACCENT, PORTAL_LOGO, PORTAL_NAME, is_colour};

use crate::form::Fields;

/// The look of the pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Brand {
    /// Name at the top of every page.
    pub name: String,
    /// One to three characters before the name, or nothing.
    pub logo: String,
    /// Colour of the line at the top of every page.
    pub accent: Option<Accent>,
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            name: "nahook".to_owned(),
            logo: "↯".to_owned(),
            accent: None,
        }
    }
}

/// A colour: `#` and six hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accent(String);

impl FromStr for Accent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_colour(text) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("a colour is # and six hexadecimal digits, such as #2f6feb")
        }
    }
}

impl Accent {
    /// The rule that makes it the colour of the pages.
    pub(crate) fn style(&self) -> String {
        format!(":root {{ --accent: {}; }}\n", self.0)
    }

    /// Name of the style sheet with that rule alone.
    pub(crate) fn sheet(&self) -> String {
        format!("accent-{}.css", self.0.trim_start_matches('#'))
    }

    /// The colour whose style sheet has this name, if there is one.
    pub(crate) fn of_sheet(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("accent-")?.strip_suffix(".css")?;
        let accent: Self = format!("#{digits}").parse().ok()?;
        (accent.sheet() == name).then_some(accent)
    }
}

/// Writes the look that a portal session has of its own as text, for its cookie; empty if it has none.
pub(crate) fn look(labels: &BTreeMap<String, String>) -> String {
    let mut look = form_urlencoded::Serializer::new(String::new());
    for name in [PORTAL_NAME, PORTAL_LOGO, PORTAL_ACCENT] {
        if let Some(value) = labels.get(name) {
            look.append_pair(name, value);
        }
    }
    look.finish()
}

impl Brand {
    /// The brand of a session with that look.
    pub(crate) fn with(&self, look: &str) -> Self {
        let look = Fields::parse(look.as_bytes());
        let accent = look.get(PORTAL_ACCENT).parse().ok();
        Self {
            name: look.some(PORTAL_NAME).unwrap_or_else(|| self.name.clone()),
            logo: look.some(PORTAL_LOGO).unwrap_or_else(|| self.logo.clone()),
            accent: accent.or_else(|| self.accent.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_six_digits() {
        assert_eq!("#2F6feb".parse(), Ok(Accent("#2f6feb".to_owned())));
        for bad in ["", "#", "red", "#2f6fe", "2f6feb", "#2f6feg", "#2f6feb;}"] {
            assert!(bad.parse::<Accent>().is_err(), "{bad}");
        }
    }
}
