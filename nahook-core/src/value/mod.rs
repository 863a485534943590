//! The values: what is passed around, checked where it is made.

pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod event_type;
pub(crate) mod event_type_pattern;
pub(crate) mod id_source;
pub(crate) mod idempotency;
pub(crate) mod metadata;
pub(crate) mod payload;
pub(crate) mod receipt;
pub(crate) mod scope;
