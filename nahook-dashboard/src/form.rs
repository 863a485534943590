//! Fields of forms and of queries.

use std::borrow::Cow;
use std::str::FromStr;

use crate::error::PageError;

/// Name of the field that carries the form's token.
pub(crate) const TOKEN_FIELD: &str = "form_token";

/// Fields in their order; a name may come several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let owned = |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into(), value.into());
        Self(form_urlencoded::parse(bytes).map(owned).collect())
    }

    /// The first field of that name; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        let found = fields.find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let fields = self.0.iter().filter(move |(key, _)| key == name);
        fields.map(|(_, value)| value.as_str())
    }

    /// The field without the space around it; `None` if that leaves nothing.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        let text = self.get(name).trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Returns true if the box of that name is checked.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// The field as a value; `None` if it is empty.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, PageError> {
        let Some(text) = self.some(name) else {
            return Ok(None);
        };
        let value = text.parse().map(Some);
        value.map_err(|_| PageError::invalid(format!("The field “{name}” cannot be read")))
    }
}
