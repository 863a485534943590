//! `nahook trigger`.

use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::StatusCode;
use nahook_core::{EventTypeName, Metadata, Payload};

use crate::client::Access;
use crate::given_secret::ApiKeyArgs;
use crate::{ServerError, client, output, text_file};

/// Arguments of `nahook trigger`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct TriggerArgs {
    /// The event type's name, such as order.paid.
    pub event_type: String,
    /// The payload, a JSON object; @FILE reads it from a file, @- from standard input.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub payload: String,
    /// A label of the event; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub metadata: Vec<String>,
    /// URL of the server.
    #[arg(long, env = "NAHOOK_URL", default_value = "http://127.0.0.1:3001")]
    pub url: String,
    /// The ingestion key.
    #[command(flatten)]
    pub key: ApiKeyArgs,
}

/// Triggers an event, prints the answer and fails unless it was accepted.
pub async fn run(args: TriggerArgs) -> Result<ExitCode, ServerError> {
    let event_type = EventTypeName::new(&args.event_type).map_err(|e| usage(e.to_string()))?;
    let payload = Payload::new(read_payload(&args.payload)?).map_err(|e| usage(e.to_string()))?;
    let metadata = args
        .metadata
        .iter()
        .map(|label| {
            label
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| usage("--metadata takes KEY=VALUE".to_owned()))?;
    let metadata = Metadata::new(metadata).map_err(|e| usage(e.to_string()))?;
    let body = body(&payload, &metadata)?;
    let access = Access {
        base_url: args.url,
        secret: args.key.secret()?,
    };
    show(client::trigger(&access, &event_type, body).await?)
}

/// Prints what the server has answered; anything but a success is a failure.
pub(crate) fn show((status, answer): (StatusCode, Bytes)) -> Result<ExitCode, ServerError> {
    output::print(&format!("{}\n", String::from_utf8_lossy(&answer)))?;
    if status.is_success() {
        Ok(ExitCode::SUCCESS)
    } else {
        output::print_error(&format!("nahook: the server answered {status}\n"));
        Ok(ExitCode::FAILURE)
    }
}

/// The request's body, with the payload's bytes as they are.
pub(crate) fn body(payload: &Payload, metadata: &Metadata) -> Result<Bytes, ServerError> {
    let mut body = b"{\"payload\":".to_vec();
    body.extend_from_slice(payload.as_bytes());
    if !metadata.is_empty() {
        body.extend_from_slice(b",\"metadata\":");
        serde_json::to_writer(&mut body, metadata).map_err(|e| usage(e.to_string()))?;
    }
    body.push(b'}');
    Ok(body.into())
}

/// The payload that an argument says, or the file that it names.
pub(crate) fn read_payload(argument: &str) -> Result<String, ServerError> {
    match argument.strip_prefix('@') {
        Some("-") => {
            let text = std::io::read_to_string(std::io::stdin())?;
            Ok(text_file::without_mark(text))
        }
        Some(path) => text_file::read(Path::new(path)),
        None => Ok(argument.to_owned()),
    }
}

pub(crate) fn usage(reason: String) -> ServerError {
    ServerError::Usage(reason)
}
