//! Texts of others, made visible.

use std::fmt::Write as _;
use std::time::Duration;

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

/// Returns the beginning of the text as it is [made visible](visible), and an ellipsis if there is more.
pub(crate) fn cut(text: &str, max: usize) -> String {
    match beginning(text, max) {
        Some(beginning) => visible(beginning) + "…",
        None => visible(text),
    }
}

/// Returns as much of the text as takes at most `max` bytes of a page, made visible and escaped; `None` if that is all of it.
pub(crate) fn beginning(text: &str, max: usize) -> Option<&str> {
    let mut len = 0;
    let mut characters = text.char_indices();
    let beyond = characters.find(|(_, character)| {
        len += shown_len(*character);
        len > max
    });
    beyond.map(|(place, _)| &text[..place])
}

/// Length of a character on a page.
fn shown_len(character: char) -> usize {
    match character {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        '"' => "&quot;".len(),
        hidden if is_hidden(hidden) => "⟨U+FFFF⟩".len(),
        other => other.len_utf8(),
    }
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

/// Returns a duration in its two largest units.
pub(crate) fn duration(time: Duration) -> String {
    let secs = time.as_secs();
    let (days, hours, minutes) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => format!("{minutes} min {} s", secs % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
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
    fn duration_has_its_two_largest_units() {
        for (secs, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_599, "59 min 59 s"),
            (3_600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d 0 h"),
            (9_000_000, "104 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(secs)), shown);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöü", 5), "äö…");
    }

    #[test]
    fn text_is_cut_by_its_length_on_the_page() {
        for character in ['a', 'ä', '&', '<', '>', '"', '\'', '\u{202e}', '\0'] {
            let text = character.to_string().repeat(1_000);
            let page = html! { (cut(&text, 500)) }.into_string();
            assert!(
                (480..=503).contains(&page.len()),
                "{character:?}: {}",
                page.len()
            );
        }
    }
}
