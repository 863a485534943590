//! A receiver of webhooks that checks signatures and tells what arrived: for trying things out.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use nahook_core::{Clock as _, SystemClock};
use nahook_delivery::Signer;

/// Upper bound on the distance between a webhook's timestamp and now (Standard Webhooks).
const TOLERANCE: Duration = Duration::from_mins(5);

/// One webhook that arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// The path it was sent to.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Result of the check of its signature.
    pub signature: SignatureCheck,
}

/// Result of the inbox's check of a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureCheck {
    /// It is right, and recent.
    Valid,
    /// It is missing, wrong or old.
    Invalid,
    /// There is no secret for this path.
    Unchecked,
}

impl std::fmt::Display for SignatureCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Valid => "valid",
            Self::Invalid => "INVALID",
            Self::Unchecked => "not checked",
        })
    }
}

/// Handles arrivals and chooses the status to answer with.
pub type OnArrival = dyn Fn(&Arrival) -> StatusCode + Send + Sync;

/// A receiver that has its port but does not serve yet.
pub struct Inbox {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    signers: Mutex<HashMap<String, Arc<Signer>>>,
    any_path: Option<Arc<Signer>>,
    on_arrival: Box<OnArrival>,
}

impl Inbox {
    /// Takes the port. `any_path` checks what arrives at paths that have no secret of their own.
    pub async fn bind(
        address: SocketAddr,
        any_path: Option<Signer>,
        on_arrival: Box<OnArrival>,
    ) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?.into_std()?;
        let any_path = any_path.map(Arc::new);
        let shared = Arc::new(Shared {
            signers: Mutex::default(),
            any_path,
            on_arrival,
        });
        Ok(Self { listener, shared })
    }

    /// Address that it listens on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Checks what arrives at `path` with `signer`.
    pub fn verify(&self, path: impl Into<String>, signer: Signer) {
        let mut signers = self
            .shared
            .signers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        signers.insert(path.into(), Arc::new(signer));
    }

    /// Serves until `stop` resolves. The port stays taken, so that it can be served again.
    pub async fn serve(
        &self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let router = Router::new().fallback(receive);
        let router = router.with_state(Arc::clone(&self.shared));
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        axum::serve(listener, router)
            .with_graceful_shutdown(stop)
            .await
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    let path = uri.path().to_owned();
    let own = {
        let signers = shared
            .signers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        signers.get(&path).map(Arc::clone)
    };
    let signature = match own.or_else(|| shared.any_path.as_ref().map(Arc::clone)) {
        Some(signer) if is_valid(&signer, &headers, &body) => SignatureCheck::Valid,
        Some(_) => SignatureCheck::Invalid,
        None => SignatureCheck::Unchecked,
    };
    (shared.on_arrival)(&Arrival {
        path,
        headers,
        body,
        signature,
    })
}

/// Returns true if one of the webhook's signatures is the one we would write, and its timestamp is near.
fn is_valid(signer: &Signer, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) = (
        text("webhook-id"),
        text("webhook-timestamp"),
        text("webhook-signature"),
    ) else {
        return false;
    };
    let Ok(timestamp) = timestamp.parse::<u64>() else {
        return false;
    };
    let is_near = SystemClock.now().as_secs().abs_diff(timestamp) <= TOLERANCE.as_secs();
    let ours = signer.sign(id, timestamp, body);
    is_near
        && ours
            .split(' ')
            .any(|ours| signatures.split(' ').any(|theirs| theirs == ours))
}
