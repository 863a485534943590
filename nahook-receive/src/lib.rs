#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(feature = "axum", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "axum"),
    doc = "Receives webhooks that are signed by Standard Webhooks."
)]

mod body;
mod claim;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod headers;
mod layer;
mod refusal;
mod seen;
mod verifier;
mod webhook;

pub use self::error::{BodyError, SecretError, VerifyError};
pub use self::layer::{VerifyLayer, VerifyService};
pub use self::refusal::Refusal;
pub use self::seen::{Begin, MemorySeenIds, SeenIds, SeenIdsError};
pub use self::verifier::Verifier;
pub use self::webhook::{RawWebhook, Webhook};
