//! Name and colour of the portal.

use std::str::FromStr;

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
        let digits = text.strip_prefix('#').unwrap_or_default();
        if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("a colour is # and six hexadecimal digits, such as #2f6feb")
        }
    }
}

impl Brand {
    /// The style sheet that differs from brand to brand.
    pub(crate) fn style(&self) -> String {
        let rule = |accent: &Accent| format!(":root {{ --accent: {}; }}\n", accent.0);
        self.accent.as_ref().map(rule).unwrap_or_default()
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
