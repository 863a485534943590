//! The tower layer.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use crate::claim::Claim;
use crate::{Begin, RawWebhook, Refusal, SeenIds, Verifier, body};

const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;

/// Lets only verified webhooks through to the service, with a [`RawWebhook`] in the request's extensions.
///
/// Reads the whole body, and answers what it does not let through itself; see [`Refusal`]. Cheap to clone.
#[derive(Clone)]
pub struct VerifyLayer {
    verifier: Verifier,
    body_limit: usize,
    seen_ids: Option<Arc<dyn SeenIds>>,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl VerifyLayer {
    /// Creates a layer that verifies by `verifier`, with a body limit of 1 MiB and without de-duplication.
    pub fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            body_limit: DEFAULT_BODY_LIMIT,
            seen_ids: None,
            clock: Arc::new(SystemTime::now),
        }
    }

    /// Sets the largest body that is accepted, in bytes.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Lets each webhook through once, as `store` remembers: the same `webhook-id` at the same path again is answered
    /// with 204 without the service once the service has answered 2xx, and with 409 while it is at work. Any other answer
    /// of the service lets the next attempt in.
    #[must_use]
    pub fn deduplicate(mut self, store: impl SeenIds + 'static) -> Self {
        self.seen_ids = Some(Arc::new(store));
        self
    }

    /// Replaces the system clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    async fn verify<B>(&self, request: Request<B>) -> Result<Request<Full<Bytes>>, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let webhook = {
            let signed = self
                .verifier
                .check_headers(&parts.headers, (self.clock)())?;
            let body = body::read(body, self.body_limit).await?;
            self.verifier.check_signature(&signed, body)?
        };
        let body = Full::new(webhook.body.clone());
        parts.extensions.insert(webhook);
        Ok(Request::from_parts(parts, body))
    }

    /// Claims a verified webhook. `None` without de-duplication.
    async fn claim(&self, request: &Request<Full<Bytes>>) -> Result<Claimed, Refusal> {
        let (Some(store), Some(webhook)) =
            (&self.seen_ids, request.extensions().get::<RawWebhook>())
        else {
            return Ok(Claimed::Handle(None));
        };
        let key = format!("{} {}", request.uri().path(), webhook.id);
        match store.begin(&key).await? {
            Begin::First => Ok(Claimed::Handle(Some(Claim::new(Arc::clone(store), key)))),
            Begin::InProgress => Err(Refusal::InProgress),
            Begin::Finished => Ok(Claimed::Skip),
        }
    }
}

enum Claimed {
    Handle(Option<Claim>),
    Skip,
}

impl<S> Layer<S> for VerifyLayer {
    type Service = VerifyService<S>;

    fn layer(&self, inner: S) -> VerifyService<S> {
        VerifyService {
            inner,
            layer: self.clone(),
        }
    }
}

impl fmt::Debug for VerifyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyLayer")
            .field("verifier", &self.verifier)
            .field("body_limit", &self.body_limit)
            .field("deduplicates", &self.seen_ids.is_some())
            .finish_non_exhaustive()
    }
}

/// The service of [`VerifyLayer`].
#[derive(Clone, Debug)]
pub struct VerifyService<S> {
    inner: S,
    layer: VerifyLayer,
}

impl<S, B, R> Service<Request<B>> for VerifyService<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: From<Bytes> + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled to be ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let request = match layer.verify(request).await {
                Ok(request) => request,
                Err(refusal) => return Ok(refusal.response()),
            };
            let claim = match layer.claim(&request).await {
                Ok(Claimed::Handle(claim)) => claim,
                Ok(Claimed::Skip) => return Ok(no_content()),
                Err(refusal) => return Ok(refusal.response()),
            };
            let answer = inner.call(request).await;
            if let Some(claim) = claim {
                let status = answer.as_ref().ok().map(Response::status);
                claim.settle(status).await;
            }
            answer
        })
    }
}

fn no_content<R: From<Bytes>>() -> Response<R> {
    let mut response = Response::new(R::from(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
