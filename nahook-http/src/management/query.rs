//! Arguments of the query.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::explain;
use crate::ApiError;

/// The arguments in a query.
pub(super) trait QueryArgs: DeserializeOwned + Send {
    /// Returns the OpenAPI document's description of the arguments.
    fn parameters() -> Vec<Value>;
}

/// A query that is not looked at.
#[derive(Debug, Deserialize)]
pub(super) struct NoQuery {}

impl QueryArgs for NoQuery {
    fn parameters() -> Vec<Value> {
        Vec::new()
    }
}

/// Reads a query; what it does not know it passes over, and twice the same is an error.
pub(super) fn read<Q: QueryArgs>(query: Option<&str>) -> Result<Q, ApiError> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| explain(&error))
}

/// Returns the OpenAPI document's description of one argument.
pub(super) fn parameter(name: &str, description: &str, schema: &Value, example: &Value) -> Value {
    json!({
        "name": name,
        "in": "query",
        "required": false,
        "description": description,
        "schema": schema,
        "example": example,
    })
}
