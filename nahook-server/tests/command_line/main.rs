//! The real program as people and scripts use it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

#[path = "../support/mod.rs"]
mod support;

mod apply;
mod first_start;
mod import;
mod keys;
mod logs;
mod operate;
mod settings;
mod start;
mod stop;
mod tokens;
mod tools;
