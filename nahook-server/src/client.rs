//! A small client of the Ingestion API, for the command line.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nahook_core::{EventTypeName, SecretText};
use nahook_delivery::tls;

use crate::ServerError;

/// Longest answer that is read, in bytes: far more than the widest receipt.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;
/// How long a request may take: beyond the five seconds of the server's own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Triggers an event at the server behind `base_url`. Answers the status and the body, whatever they are.
///
/// # Errors
/// No answer arrived; whether the server did anything is not known.
pub async fn trigger(
    base_url: &str,
    api_key: &SecretText,
    event_type: &EventTypeName,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ServerError> {
    let failed = |reason: String| ServerError::Request(reason);
    let base_url = base_url.trim_end_matches('/');
    let uri: Uri = format!("{base_url}/api/ingest/event/{event_type}")
        .parse()
        .map_err(|_| failed("the server's URL is malformed".to_owned()))?;
    let request = Request::post(uri)
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", api_key.expose()),
        )
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| failed(error.to_string()))?;
    let tls = tls::client_config(&[]).map_err(|error| failed(error.to_string()))?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let exchange = async {
        let answer = client
            .request(request)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
        Ok((head.status, body))
    };
    let timed_out = |_| failed("no answer in time".to_owned());
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(timed_out)?
}
