//! Parts that the OpenAPI document is made of.

mod components;
pub(crate) mod ingestion;

pub(crate) use self::components::Components;

use serde_json::Value;

use crate::problem::Problem;

/// Which of the two APIs an operation belongs to: they take different secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Api {
    Ingestion,
    Management,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) api: Api,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) parameters: Vec<Value>,
    pub(crate) body: Option<Value>,
    /// The answers that are no errors, with the schemas of their bodies.
    pub(crate) answers: Vec<(u16, Option<Value>)>,
    pub(crate) problems: Vec<Problem>,
    /// The schemas that are referred to.
    pub(crate) components: Components,
}
