//! The settings of a kind of endpoint.

use serde_json::{Map, Value};

/// Largest number of fields in all objects of a configuration together.
pub(super) const FIELDS_MAX: usize = 64;
/// Largest depth of a configuration: 1 is a flat object.
pub(super) const DEPTH_MAX: usize = 8;
/// Largest configuration, in bytes of JSON.
pub(super) const LEN_MAX: usize = 8192;

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
