#![doc = include_str!("../README.md")]

mod json_lines;

/// The documents whose code blocks belong to no crate: they are compiled with the tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/embed.md")]
    mod embed {}
    #[doc = include_str!("../../docs/receive-and-verify.md")]
    mod receive_and_verify {}
}

pub use self::json_lines::JsonLinesPublisher;
