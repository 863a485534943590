//! The rules for every field of every kind of row.
//!
//! One table, [`ROWS`], is all there is: the manifest, the Management API, the schemas of the `OpenAPI` document, the SQL
//! function and their tests are made of it. Rules are for what is written: a row from before a rule stays readable and changeable.

mod charset;
mod config;
mod form;
mod look;
mod sample;
mod table;
mod text;
mod url_pattern;

use std::collections::BTreeMap;
use std::fmt;

use crate::EndpointKind;
use nahook_core::Metadata;
use serde_json::{Map, Value, json};
use thiserror::Error;

use self::form::Form;
pub(crate) use self::look::check_look;
pub use self::look::{PORTAL_ACCENT, PORTAL_LOGO, PORTAL_NAME, is_colour};
pub use self::sample::Sample;
pub use self::table::{
    ROWS, api_key, application, endpoint, environment, event, event_type, management_token,
    pattern, plan, portal_session, rate, redelivery, secret_state, subscription, test_event,
    visibility, workspace,
};
use self::text::Text;

/// Largest number of environments of a workspace (contract, section 2).
pub const ENVIRONMENTS_MAX: usize = 10;
/// Longest error of an attempt that is imported, in characters.
pub const ERROR_LEN_MAX: usize = 1024;

/// Message about a Slack endpoint that [`slack_url`] finds no URL for.
pub(crate) const SLACK_URL_REQUIRED: &str = "config.webhookUrl is required for a slack endpoint";

/// The URL that a Slack endpoint has in its configuration (contract, section 3).
pub(crate) fn slack_url(config: &Map<String, Value>) -> Option<&str> {
    config.get("webhookUrl").and_then(Value::as_str)
}

/// The field that has the URL of an endpoint of that kind.
pub(crate) const fn url_field(kind: EndpointKind) -> Field {
    match kind {
        EndpointKind::Slack => endpoint::WEBHOOK_URL,
        EndpointKind::Webhook => endpoint::URL,
    }
}

/// A kind of row, with the rules for its fields.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// Name of its place in a manifest; empty if it cannot be declared.
    pub section: &'static str,
    /// Names of the schemas of the Management API's request bodies that write it.
    pub bodies: &'static [&'static str],
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field and the rule for its values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Field {
    /// Name in a manifest; the API has it in camel case.
    pub name: &'static str,
    /// The rule.
    pub rule: Rule,
}

/// A rule for the values of a field.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// Any value of its type, for the reason given.
    Free(&'static str),
    /// The id or name of something that exists.
    Reference,
    /// A list of such names.
    References,
    /// A list of such ids, bounded in length.
    Items {
        /// Largest number of items.
        max: usize,
    },
    /// A text of bounded length and of certain characters.
    Text(Text),
    /// A text with a grammar of its own.
    Form(Form),
    /// A whole number.
    Whole {
        /// Smallest number.
        min: u32,
        /// Largest number.
        max: u32,
    },
    /// Labels, text to text; the lengths are those of [`Metadata`].
    Labels {
        /// Largest number of labels.
        max: usize,
    },
    /// The settings of a kind of endpoint.
    Config,
    /// Any JSON object.
    Object,
}

/// A value to be checked.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each variant is its value")]
pub enum Given<'a> {
    Absent,
    Text(&'a str),
    Whole(i64),
    Labels(&'a BTreeMap<String, String>),
    Config(&'a Map<String, Value>),
    Items(usize),
}

/// A value breaks the rule of its field. What it displays is for callers of the API and repeats nothing of the value.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct Broken {
    /// Absent where the text names the field itself.
    field: Option<&'static str>,
    text: String,
}

impl Row {
    /// The field that the API knows by this name.
    pub fn api_field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.api_name() == name)
    }
}

impl Field {
    /// The name in the Management API.
    pub fn api_name(&self) -> String {
        camel_case(self.name)
    }

    /// Checks a value; an absent one is none.
    pub fn check<'a>(&self, given: impl Into<Given<'a>>) -> Result<(), Broken> {
        let named = |text: String| Broken {
            field: Some(self.name),
            text,
        };
        match (self.rule, given.into()) {
            (_, Given::Absent) | (Rule::Free(_), _) => Ok(()),
            (Rule::Text(text), Given::Text(given)) if text.allows(given) => Ok(()),
            (Rule::Form(form), Given::Text(given)) => {
                (form.check)(given).map_err(|rule| named(format!(": {rule}")))
            }
            (Rule::Whole { min, max }, Given::Whole(given))
                if (i64::from(min)..=i64::from(max)).contains(&given) =>
            {
                Ok(())
            }
            (Rule::Items { max }, Given::Items(given)) if given <= max => Ok(()),
            (Rule::Labels { max }, Given::Labels(given)) => {
                Metadata::check(given, max).map_err(|error| Broken {
                    field: None,
                    text: error.to_string(),
                })
            }
            (Rule::Config, Given::Config(given)) if config::allows(given) => Ok(()),
            _ => Err(named(format!(" {}", self.rule))),
        }
    }

    /// Checks a whole number.
    pub fn whole(&self, given: i64) -> Result<u32, Broken> {
        self.check(Given::Whole(given))?;
        // No rule allows more than that.
        Ok(u32::try_from(given).unwrap_or(u32::MAX))
    }
}

impl Rule {
    /// The JSON schema of the values, as far as a schema can tell; `None` if their type says it all.
    pub fn schema(&self) -> Option<Value> {
        Some(match self {
            Self::Free(_) | Self::Reference | Self::References => return None,
            Self::Items { max } => json!({
                "type": "array", "items": { "type": "string" }, "maxItems": max,
            }),
            Self::Text(text) => text.schema(),
            Self::Form(form) => form.schema(),
            Self::Whole { min, max } => json!({
                "type": "integer", "minimum": min, "maximum": max,
            }),
            Self::Labels { max } => json!({
                "type": "object",
                "maxProperties": max,
                "propertyNames": { "maxLength": Metadata::KEY_LEN_MAX },
                "additionalProperties": { "type": "string", "maxLength": Metadata::VALUE_LEN_MAX },
            }),
            Self::Config => json!({
                "type": "object",
                "maxProperties": config::FIELDS_MAX,
                "description": format!("At most {}.", config::bounds()),
            }),
            Self::Object => json!({ "type": "object" }),
        })
    }
}

/// Writes the rule in words that follow the name of the field in a message.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free(reason) => write!(f, "is {reason}"),
            Self::Reference => f.write_str("names what exists"),
            Self::References => f.write_str("is a list of names of what exists"),
            Self::Items { max } => write!(f, "has at most {max} items"),
            Self::Text(text) => write!(f, "has {text}"),
            Self::Form(form) => write!(f, "is {form}"),
            Self::Whole { min, max } => write!(f, "is {min} to {max}"),
            Self::Labels { max } => write!(
                f,
                "has at most {max} labels, with keys of at most {} and values of at most {} characters",
                Metadata::KEY_LEN_MAX,
                Metadata::VALUE_LEN_MAX
            ),
            Self::Config => write!(f, "has at most {}", config::bounds()),
            Self::Object => f.write_str("is an object"),
        }
    }
}

impl Broken {
    /// The message for the author of a manifest.
    pub(crate) fn in_manifest(&self) -> String {
        format!("{}{}", self.field.unwrap_or_default(), self.text)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.map(camel_case).unwrap_or_default();
        write!(f, "{name}{}", self.text)
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}

impl<'a> From<&'a str> for Given<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Given<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Given<'_> {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl<'a> From<&'a BTreeMap<String, String>> for Given<'a> {
    fn from(labels: &'a BTreeMap<String, String>) -> Self {
        Self::Labels(labels)
    }
}

impl<'a> From<&'a Map<String, Value>> for Given<'a> {
    fn from(config: &'a Map<String, Value>) -> Self {
        Self::Config(config)
    }
}

impl<T: Into<Self>> From<Option<T>> for Given<'_> {
    fn from(given: Option<T>) -> Self {
        given.map_or(Self::Absent, Into::into)
    }
}
