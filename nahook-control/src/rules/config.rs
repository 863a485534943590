//! The settings of a kind of endpoint.

use serde_json::{Map, Value, json};

use super::Sample;

/// Largest number of fields in all objects of a configuration together.
pub(super) const FIELDS_MAX: usize = 64;
/// Largest depth of a configuration: 1 is a flat object.
const DEPTH_MAX: usize = 8;
/// Largest configuration, in bytes of JSON.
const LEN_MAX: usize = 8192;

/// The bounds in words.
pub(super) fn bounds() -> String {
    format!("{FIELDS_MAX} fields, nested {DEPTH_MAX} deep, and {LEN_MAX} bytes of JSON")
}

pub(super) fn allows(config: &Map<String, Value>) -> bool {
    let mut fields = config.len();
    let is_shallow = count(config.values(), 1, &mut fields);
    let len = || serde_json::to_string(config).map_or(usize::MAX, |json| json.len());
    is_shallow && fields <= FIELDS_MAX && len() <= LEN_MAX
}

/// Adds up the fields in `values`, which are at this depth; false if one is too deep.
fn count<'a>(
    mut values: impl Iterator<Item = &'a Value>,
    depth: usize,
    fields: &mut usize,
) -> bool {
    depth <= DEPTH_MAX
        && values.all(|value| match value {
            Value::Array(items) => count(items.iter(), depth + 1, fields),
            Value::Object(inner) => {
                *fields += inner.len();
                count(inner.values(), depth + 1, fields)
            }
            _ => true,
        })
}

pub(super) fn samples() -> Vec<Sample> {
    let fields = |count: usize| -> Map<_, _> {
        let names = (0..count).map(|n| n.to_string());
        names.map(|name| (name, Value::Null)).collect()
    };
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    let listed = |depth: usize| (1..depth).fold(json!(1), |inner, _| json!([inner]));
    // With the quotes, the colon and the braces.
    let long = |len: usize| json!({ "a": "x".repeat(len - 8) });
    vec![
        Sample::inside(fields(FIELDS_MAX)),
        Sample::outside(fields(FIELDS_MAX + 1)),
        Sample::outside(json!({ "a": [fields(FIELDS_MAX)] })).beyond_schema(),
        Sample::inside(nested(DEPTH_MAX)),
        Sample::outside(nested(DEPTH_MAX + 1)).beyond_schema(),
        Sample::inside(json!({ "a": listed(DEPTH_MAX) })),
        Sample::outside(json!({ "a": listed(DEPTH_MAX + 1) })).beyond_schema(),
        Sample::inside(long(LEN_MAX)),
        Sample::outside(long(LEN_MAX + 1)).beyond_schema(),
    ]
}
