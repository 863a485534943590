//! The real program as people and scripts use it.

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
