//! Texts of bounded length and of certain characters.

use std::fmt;

use serde_json::{Value, json};

use super::Sample;
use super::charset::Charset;

/// Bounds of a text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Beginning of every value, counted in its length.
    pub(super) prefix: &'static str,
    /// Shortest value, in characters.
    pub(super) min: usize,
    /// Longest value, in characters.
    pub(super) max: usize,
    /// Characters after the prefix.
    pub(super) chars: Charset,
    /// True if white space alone is not enough.
    pub(super) not_blank: bool,
    /// The characters in words.
    pub(super) words: &'static str,
}

impl Text {
    pub(super) fn allows(&self, text: &str) -> bool {
        let is_blank = text.chars().all(char::is_whitespace);
        (self.min..=self.max).contains(&text.chars().count())
            && !(self.not_blank && is_blank)
            && text
                .strip_prefix(self.prefix)
                .is_some_and(|rest| rest.chars().all(|c| self.chars.contains(c)))
    }

    pub(super) fn schema(&self) -> Value {
        let any = self.chars.class(true);
        let pattern = if self.not_blank {
            format!("^{any}*{}{any}*$", self.chars.class(false))
        } else {
            format!("^{}{any}*$", self.prefix)
        };
        json!({
            "type": "string", "pattern": pattern, "minLength": self.min, "maxLength": self.max,
        })
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let of = |c: char, len: usize| {
            let filled = len.saturating_sub(self.prefix.len());
            format!("{}{}", self.prefix, c.to_string().repeat(filled))
        };
        let mut samples = Vec::new();
        for c in self.chars.members() {
            let lens = [self.min.max(self.prefix.len() + 1), self.max];
            samples.extend(lens.map(|len| Sample::inside(of(c, len))));
            samples.push(Sample::outside(of(c, self.max + 1)));
        }
        samples.push(Sample::inside(of('a', self.min)));
        if let Some(short) = self.min.checked_sub(1) {
            samples.push(Sample::outside(&of('a', self.min)[..short]));
        }
        for c in self.chars.strangers() {
            samples.push(Sample::outside(format!("{}a{c}a", self.prefix)));
        }
        if self.not_blank {
            samples.push(Sample::outside(" ".repeat(self.min)));
        }
        samples
    }
}

/// Writes the rule for a text in words.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min {
            0 => write!(f, "at most {} characters", self.max)?,
            min => write!(f, "{min} to {} characters", self.max)?,
        }
        if !self.prefix.is_empty() {
            write!(f, ", beginning with {}", self.prefix)?;
        }
        write!(f, ", {}", self.words)
    }
}
