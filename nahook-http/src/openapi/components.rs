//! The schemas that operations refer to.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;

/// Schemas by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Components(BTreeMap<String, Value>);

impl Components {
    /// A reference to the schema of `T`, which is among the components from now on with all it refers to.
    pub(crate) fn reference<T: ToSchema>(&mut self) -> Value {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        for (name, schema) in schemas {
            // A schema is plain data, which always serializes.
            let schema = serde_json::to_value(schema).unwrap_or_default();
            self.0.insert(name, schema);
        }
        json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
    }

    /// Returns true if the object that the reference leads to must have some field: by name, or one of several.
    pub(crate) fn requires(&self, reference: &Value) -> bool {
        let name = reference["$ref"]
            .as_str()
            .and_then(|it| it.rsplit('/').next());
        let schema = name.and_then(|name| self.0.get(name));
        schema.is_some_and(|it| {
            let named = it["required"].as_array();
            named.is_some_and(|named| !named.is_empty()) || it.get("allOf").is_some()
        })
    }

    /// Takes over what `other` has.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Puts a schema in, or in the place of the one with that name.
    pub(crate) fn put(&mut self, name: &str, schema: Value) {
        self.0.insert(name.to_owned(), schema);
    }

    /// Changes a schema, if it is there.
    pub(crate) fn refine(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        if let Some(schema) = self.0.get_mut(name) {
            change(schema);
        }
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0.into_iter().collect())
    }
}
