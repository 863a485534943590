//! A small client of the APIs, for the command line.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nahook_control::SecretText;
use nahook_core::id::EndpointId;
use nahook_core::{Causes, EventTypeName};
use nahook_delivery::tls;

use crate::ServerError;

/// Longest answer that is read, in bytes: far more than the widest receipt.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;
/// Upper bound on a request's duration: beyond the five seconds of the server's own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Address of a server, and the secret to call it with.
#[derive(Clone, Debug)]
pub struct Access {
    /// The server's base URL; a path in it is kept.
    pub base_url: String,
    /// An ingestion key or a management token.
    pub secret: SecretText,
}

/// Triggers an event. Answers the status and the body, whatever they are.
///
/// # Errors
/// As those of [`ask`].
pub async fn trigger(
    access: &Access,
    event_type: &EventTypeName,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ServerError> {
    let path = format!("/api/ingest/event/{event_type}");
    ask(access, Method::POST, &path, body).await
}

/// Sends to one endpoint. Answers the status and the body, whatever they are.
///
/// # Errors
/// As those of [`ask`].
pub async fn send(
    access: &Access,
    endpoint: EndpointId,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ServerError> {
    ask(
        access,
        Method::POST,
        &format!("/api/ingest/{endpoint}"),
        body,
    )
    .await
}

/// Asks the server for that path. Answers the status and the body, whatever they are.
///
/// # Errors
/// No answer arrived; whether the server did anything is not known.
pub async fn ask(
    access: &Access,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ServerError> {
    let failed = |reason: String| ServerError::Request(reason);
    let base_url = access.base_url.trim_end_matches('/');
    let uri: Uri = format!("{base_url}{path}")
        .parse()
        .map_err(|_| failed("the server's URL is malformed".to_owned()))?;
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", access.secret.expose()),
        )
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| failed(error.to_string()))?;
    let tls = tls::client_config(&[]).map_err(|error| failed(Causes(&error).to_string()))?;
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
            .map_err(|error| failed(Causes(&error).to_string()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
        let body = body
            .map_err(|error| failed(Causes(&*error).to_string()))?
            .to_bytes();
        Ok((head.status, body))
    };
    let timed_out = |_| failed("no answer in time".to_owned());
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(timed_out)?
}
