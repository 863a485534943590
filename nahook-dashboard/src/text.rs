//! Texts of others, made visible.

use std::fmt::Write as _;

use maud::{Markup, html};
use nahook_core::Timestamp;

/// Returns the text with its control characters, and those that change the direction of writing, written out: what a page shows is
/// what is there. Line breaks and tabs stay.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            // Writing to a string does not fail.
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

fn is_hidden(character: char) -> bool {
    let is_line = matches!(character, '\n' | '\t');
    let is_bidi = matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_invisible = matches!(
        character,
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{2028}' | '\u{2029}'
    );
    (character.is_control() && !is_line) || is_bidi || is_invisible
}

/// Returns the first `max` characters, and an ellipsis if there are more.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(max).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Shows an instant in UTC; the script shows it in the reader's zone.
pub(crate) fn time(at: Timestamp) -> Markup {
    let exact = nahook_http::show_instant(at);
    html! { time datetime=(exact) title={ (exact) " (UTC)" } { (utc(at)) } }
}

/// An instant in UTC, to the second.
pub(crate) fn utc(at: Timestamp) -> String {
    let exact = nahook_http::show_instant(at);
    format!(
        "{} UTC",
        exact.get(..19).unwrap_or(&exact).replace('T', " ")
    )
}

/// Shows an instant, or a dash.
pub(crate) fn maybe_time(at: Option<Timestamp>) -> Markup {
    at.map_or_else(|| html! { "–" }, time)
}

/// Returns the number with its noun.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_written_out() {
        assert_eq!(visible("a\u{202e}b\0\nc"), "a⟨U+202E⟩b⟨U+0000⟩\nc");
        assert_eq!(visible("plain ünïcödé"), "plain ünïcödé");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
    }
}
