//! Values just inside and just outside of a rule, for tests.

use nahook_core::Metadata;
use serde_json::{Map, Value, json};

use super::Rule;
use super::config::{DEPTH_MAX, FIELDS_MAX, LEN_MAX};

/// A value at the edge of a rule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// The value.
    pub value: Value,
    /// True if the rule allows it.
    pub is_allowed: bool,
    /// True if the schema says the same: there are rules that no schema can state.
    pub is_in_schema: bool,
}

impl Sample {
    pub(super) fn inside(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            is_allowed: true,
            is_in_schema: true,
        }
    }

    pub(super) fn outside(value: impl Into<Value>) -> Self {
        Self {
            is_allowed: false,
            ..Self::inside(value)
        }
    }

    /// One that the schema judges otherwise.
    pub(super) fn beyond_schema(self) -> Self {
        Self {
            is_in_schema: false,
            ..self
        }
    }
}

impl Rule {
    /// Values at the edges of the rule; none if every value of the type is allowed.
    pub fn samples(&self) -> Vec<Sample> {
        match *self {
            Self::Free(_) | Self::Object => Vec::new(),
            Self::Reference => vec![Sample::outside("nothing").beyond_schema()],
            Self::References => vec![Sample::outside(json!(["nothing"])).beyond_schema()],
            Self::Items { max } => vec![
                Sample::inside(vec!["nothing"; max]),
                Sample::outside(vec!["nothing"; max + 1]),
            ],
            Self::Text(text) => text.samples(),
            Self::Form(form) => (form.samples)(),
            Self::Whole { min, max } => vec![
                Sample::inside(min),
                Sample::inside(max),
                Sample::outside(i64::from(min) - 1),
                Sample::outside(i64::from(max) + 1),
                Sample::outside(u64::MAX),
                Sample::outside(f64::from(min) + 0.5),
            ],
            Self::Labels { max } => labels(max),
            Self::Config => configs(),
        }
    }
}

fn labels(max: usize) -> Vec<Sample> {
    let so_many = |count: usize| -> Map<_, _> {
        let names = (0..count).map(|n| n.to_string());
        names.map(|name| (name, "".into())).collect()
    };
    let one = |key: usize, value: usize| json!({ ("\u{e4}".repeat(key)): "\u{e4}".repeat(value) });
    let (key, value) = (Metadata::KEY_LEN_MAX, Metadata::VALUE_LEN_MAX);
    vec![
        Sample::inside(so_many(max)),
        Sample::outside(so_many(max + 1)),
        Sample::inside(one(key, value)),
        Sample::outside(one(key + 1, 0)),
        Sample::outside(one(1, value + 1)),
        Sample::outside(json!({ "a": 1 })),
    ]
}

/// Configurations at the edges of their bounds.
fn configs() -> Vec<Sample> {
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
