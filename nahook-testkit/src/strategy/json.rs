//! Generators of what callers send.

use nahook_core::{Metadata, Payload};
use proptest::prelude::*;

/// The text of a JSON object as no serialiser would write it: odd spacing, escapes, numbers of any size and spelling,
/// repeated and empty keys, nesting.
pub fn json_object() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number(),
        text(),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            elements(inner.clone(), 0..4).prop_map(|inside| format!("[{inside}]")),
            members(inner, 0..4).prop_map(|inside| format!("{{{inside}}}")),
        ]
    });
    members(value, 0..6).prop_map(|inside| format!("{{{inside}}}"))
}

/// A payload of any such text.
pub fn payload() -> impl Strategy<Value = Payload> {
    json_object().prop_filter_map("a JSON object", |json| Payload::new(json).ok())
}

/// Up to five labels of any text.
pub fn metadata() -> impl Strategy<Value = Metadata> {
    prop::collection::btree_map(".{0,20}", ".{0,40}", 0..=Metadata::KEYS_MAX)
        .prop_filter_map("at most five labels", |labels| Metadata::new(labels).ok())
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?"
}

/// A string with plain characters and every kind of escape, a lone surrogate included.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ !#-\\[\\]-~]{1,8}",
        1 => "[À-ÿ\u{400}-\u{4ff}\u{4e00}-\u{4eff}\u{1f600}-\u{1f640}]{1,3}",
        1 => r#"\\["\\/bfnrt]"#,
        1 => "\\\\u[0-9a-fA-F]{4}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,2}"
}

fn elements(
    value: impl Strategy<Value = String>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    let element = (space(), value, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
    prop::collection::vec(element, count).prop_map(|elements| elements.join(","))
}

fn members(
    value: impl Strategy<Value = String>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    let member = (space(), text(), space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    prop::collection::vec(member, count).prop_map(|members| members.join(","))
}
