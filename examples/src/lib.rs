#![doc = include_str!("../README.md")]

mod json_lines;

pub use self::json_lines::JsonLinesPublisher;
