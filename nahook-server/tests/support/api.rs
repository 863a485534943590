//! A plain client of the Ingestion API that shows everything it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// Longer than any answer may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A client with a key; clones share connections.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    key: String,
    scheme: &'static str,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Api {
    /// A client that speaks plain HTTP.
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty());
        Self::over("http", address, key, config.with_no_client_auth())
    }

    /// A client that speaks TLS alone.
    pub(crate) fn secured(address: SocketAddr, key: &str, tls: ClientConfig) -> Self {
        Self::over("https", address, key, tls)
    }

    fn over(scheme: &'static str, address: SocketAddr, key: &str, tls: ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = connector.https_or_http().enable_http1().build();
        Self {
            address,
            key: key.to_owned(),
            scheme,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Triggers with a payload and nothing else.
    pub(crate) async fn trigger(&self, event_type: &str, payload: &str) -> Answer {
        let body = format!("{{\"payload\":{payload}}}");
        self.post(&format!("/api/ingest/event/{event_type}"), body)
            .await
    }

    /// Posts a body.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.try_post(path, body).await.unwrap()
    }

    /// Gets what is at the path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await.unwrap()
    }

    /// Posts a body; an error where no whole answer came.
    pub(crate) async fn try_post(
        &self,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        self.send(Method::POST, path, body).await
    }

    /// Sends a request; an error where no whole answer came.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}://{}{path}", self.scheme, self.address))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
            .unwrap();
        let exchange = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|e| format!("{e:?}"))?;
            let (head, body) = answer.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|e| format!("{e:?}"))?
                .to_bytes();
            let (status, headers) = (head.status.as_u16(), head.headers);
            Ok(Answer {
                status,
                headers,
                body,
                at: Instant::now(),
            })
        };
        let answered = tokio::time::timeout(TIMEOUT, exchange).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The ids of a 202; anything else panics.
    pub(crate) fn delivery_ids(&self) -> Vec<String> {
        assert_eq!(self.status, 202, "{self:?}");
        let json = self.json();
        let ids = json["deliveryIds"].as_array().unwrap().iter();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// Checks that it is this error, in the contract's shape.
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let json = self.json();
        let fields: Vec<_> = json["error"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["code", "message"]);
        let mut others: Vec<_> = json.as_object().unwrap().iter().collect();
        others.retain(|(name, _)| *name != "error");
        // Decision 0050: where there is no room, nothing was queued.
        let none = (&"deliveryIds".to_owned(), &Value::Array(Vec::new()));
        assert!(
            others.is_empty() || status == 503 && others == [none],
            "{json}"
        );
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}
