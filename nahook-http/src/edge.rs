//! Outermost layer of every route: gives a request its id and arrival time, and answers 500 when a handler panics.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use nahook_core::id::WorkspaceId;
use nahook_core::{IdSource, RandomIds};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::ApiError;
use crate::room::Client;

/// Header that carries a request's id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Longest id that is taken from a client, in bytes: it goes into every log line of the request.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Id of a request in answers and logs: the client's own, or a drawn one.
#[derive(Clone, Eq, PartialEq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, if it sent a reasonable one: 1 to 128 visible ASCII characters.
    fn sent(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(X_REQUEST_ID)?;
        let is_reasonable = (1..=REQUEST_ID_LEN_MAX).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic);
        is_reasonable.then(|| Self(value.clone()))
    }

    pub(crate) fn drawn(random: u128) -> Self {
        let text = format!("req_{random:032x}");
        // Letters and digits always make a header value.
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("req_0")))
    }

    /// Sets the headers that every answer has: the id, and that no browser may take the answer for another type of content.
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.0);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Facts about a request that the layer adds as an extension, for any route behind it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestContext {
    /// Id of the request.
    pub id: RequestId,
    /// Instant at which its head had arrived; deadlines count from here.
    pub arrived: Instant,
    /// Its client, where [`serve`](crate::serve) serves it.
    pub(crate) client: Option<Client>,
}

impl RequestContext {
    /// The request's own, or a new one where no layer was in its way.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(|| Self {
            id: RequestId::drawn(RandomIds.random()),
            arrived: Instant::now(),
            client: extensions.get().cloned(),
        })
    }

    /// The client's address, where it is known.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.client.as_ref().map(Client::address)
    }

    /// Decides about a line in the log that says that the request was refused: `None` leaves it out, and a number is that of the
    /// lines that were left out before it. Nothing is left out where clients are not known.
    pub(crate) fn log_refusal(&self, workspace: Option<WorkspaceId>) -> Option<u64> {
        let client = self.client.as_ref();
        client.map_or(Some(0), |client| client.log_refusal(workspace))
    }

    /// Tells the connection that the request's caller is known.
    ///
    /// # Errors
    /// Too much is under way: nothing of the request may be begun.
    pub fn authenticate(&self, workspace: WorkspaceId) -> Result<(), ApiError> {
        let client = self.client.as_ref();
        let authenticated = client.map_or(Ok(()), |client| client.authenticate(workspace));
        authenticated.map_err(ApiError::crowded)
    }
}

/// Gives every request a [`RequestContext`], shows its id as `X-Request-Id` on the answer, and turns a panic into a 500.
///
/// Laid twice, the outer one's context holds.
#[derive(Clone)]
pub struct EdgeLayer {
    ids: Arc<dyn IdSource>,
}

impl EdgeLayer {
    /// Draws ids from `ids`.
    pub fn new(ids: Arc<dyn IdSource>) -> Self {
        Self { ids }
    }
}

impl Default for EdgeLayer {
    fn default() -> Self {
        Self::new(Arc::new(RandomIds))
    }
}

impl fmt::Debug for EdgeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, service: S) -> Edge<S> {
        Edge {
            service,
            ids: Arc::clone(&self.ids),
        }
    }
}

/// A service behind an [`EdgeLayer`].
#[derive(Clone)]
pub struct Edge<S> {
    service: S,
    ids: Arc<dyn IdSource>,
}

impl<S> fmt::Debug for Edge<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

impl<S> Edge<S> {
    fn context(&self, request: &Request) -> RequestContext {
        request.extensions().get().cloned().unwrap_or_else(|| {
            let id = RequestId::sent(request.headers());
            RequestContext {
                id: id.unwrap_or_else(|| RequestId::drawn(self.ids.random())),
                arrived: Instant::now(),
                client: request.extensions().get().cloned(),
            }
        })
    }
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let context = self.context(&request);
        let id = context.id.clone();
        request.extensions_mut().insert(context);
        // The clone takes the place of the service that was made ready.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        Box::pin(async move {
            // It is not polled again, and what it shares with others is behind locks that are poisoned or that hold no
            // half-made state. What it panicked with has gone to the panic hook.
            let answering = AssertUnwindSafe(async move { service.call(request).await });
            let mut response = match answering.catch_unwind().await {
                Ok(response) => response?,
                Err(_) => ApiError::internal().into_response(),
            };
            id.mark(response.headers_mut());
            Ok(response)
        })
    }
}
