//! Errors of the verification. None of them shows a secret, a signature or a part of the body.

use thiserror::Error;

/// Reason why a webhook is not accepted.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header of the signature is missing.
    #[error("the header `{0}` is missing")]
    MissingHeader(&'static str),
    /// A header of the signature cannot be read or appears more than once.
    #[error("the header `{0}` is malformed")]
    MalformedHeader(&'static str),
    /// No signature is of version `v1`, the only one that is supported.
    #[error("there is no signature of version `v1`")]
    UnsupportedSignature,
    /// The timestamp is further in the past than the tolerance allows.
    #[error("the timestamp is too old")]
    TooOld,
    /// The timestamp is further in the future than the tolerance allows.
    #[error("the timestamp is too far in the future")]
    TooNew,
    /// The body is larger than the limit.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection or an outer layer failed while the body was read.
    #[error("the body could not be read")]
    BodyUnreadable,
    /// The body is not UTF-8.
    #[error("the body is not UTF-8")]
    BodyNotText,
    /// No signature matches any of the secrets.
    #[error("no signature matches")]
    SignatureMismatch,
}

/// Reason why a verified body is not the type that was asked for.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum BodyError {
    /// The body is not JSON.
    #[error("the body is not JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 0.
        column: usize,
    },
    /// The body is JSON of another shape than the type.
    #[error("the body does not have the expected shape (line {line}, column {column})")]
    UnexpectedShape {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 0.
        column: usize,
    },
}

impl BodyError {
    /// Keeps the position only: the message of `error` may quote the body.
    pub(crate) fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            Self::UnexpectedShape { line, column }
        } else {
            Self::NotJson { line, column }
        }
    }
}

/// Reason why a secret cannot verify anything.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum SecretError {
    /// There are no secrets.
    #[error("there is no signing secret")]
    NoSecrets,
    /// The secret is not base64 (standard alphabet, padded), apart from its prefix `whsec_`.
    #[error("a signing secret must be base64, with or without `whsec_` before it")]
    Encoding,
    /// The secret has no bytes.
    #[error("a signing secret must not be empty")]
    Empty,
}
