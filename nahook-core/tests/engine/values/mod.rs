//! The values that a fan-out is made of, and the adapters that come with it.

mod event_type_pattern;
mod memory;
mod metadata;
mod payload;
