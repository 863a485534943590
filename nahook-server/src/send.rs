//! `nahook send`.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use nahook_core::id::EndpointId;
use nahook_core::{IdempotencyKey, Payload};

use crate::client::Access;
use crate::given_secret::ApiKeyArgs;
use crate::trigger::{read_payload, show, usage};
use crate::{ServerError, client};

/// Arguments of `nahook send`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct SendArgs {
    /// The endpoint's id.
    pub endpoint: String,
    /// The payload, a JSON object; @FILE reads it from a file, @- from standard input.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub payload: String,
    /// Idempotency key: the same again within 24 hours is answered with the first delivery.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// URL of the server.
    #[arg(long, env = "NAHOOK_URL", default_value = "http://127.0.0.1:3001")]
    pub url: String,
    /// The ingestion key.
    #[command(flatten)]
    pub key: ApiKeyArgs,
}

/// Sends, prints the answer and fails unless it was accepted.
pub async fn run(args: SendArgs) -> Result<ExitCode, ServerError> {
    let endpoint = EndpointId::new(&args.endpoint).map_err(|e| usage(e.to_string()))?;
    let payload = Payload::new(read_payload(&args.payload)?).map_err(|e| usage(e.to_string()))?;
    let key = args.idempotency_key.as_deref().map(IdempotencyKey::new);
    let key = key.transpose().map_err(|e| usage(e.to_string()))?;
    let access = Access {
        base_url: args.url,
        secret: args.key.secret()?,
    };
    show(client::send(&access, endpoint, body(&payload, key.as_ref())?).await?)
}

/// The request's body, with the payload's bytes as they are.
fn body(payload: &Payload, key: Option<&IdempotencyKey>) -> Result<Bytes, ServerError> {
    let mut body = b"{\"payload\":".to_vec();
    body.extend_from_slice(payload.as_bytes());
    if let Some(key) = key {
        body.extend_from_slice(b",\"idempotencyKey\":");
        serde_json::to_writer(&mut body, key.as_str()).map_err(|e| usage(e.to_string()))?;
    }
    body.push(b'}');
    Ok(body.into())
}
