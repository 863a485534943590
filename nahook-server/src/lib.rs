#![doc = include_str!("../README.md")]

pub mod apply;
mod arguments;
mod background;
pub mod cli;
pub mod client;
pub mod demo;
mod drawn;
mod error;
mod first_start;
pub mod given_secret;
pub mod import;
pub mod inbox;
pub mod keys;
pub mod listen;
mod listeners;
mod machine;
pub mod operate;
mod output;
mod pages;
mod pressure;
mod private_file;
mod readiness;
pub mod send;
pub mod serve;
pub mod settings;
mod signals;
mod stop;
pub mod telemetry;
mod text_file;
pub mod tls;
pub mod tokens;
pub mod trigger;
mod workspaces;

pub use self::error::ServerError;
