//! A receiver of webhooks that checks signatures and tells what arrived: for trying things out.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use nahook_receive::Verifier;

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
    verifiers: Mutex<HashMap<String, Verifier>>,
    any_path: Option<Verifier>,
    on_arrival: Box<OnArrival>,
}

impl Inbox {
    /// Takes the port. `any_path` checks what arrives at paths that have no secret of their own.
    pub async fn bind(
        address: SocketAddr,
        any_path: Option<Verifier>,
        on_arrival: Box<OnArrival>,
    ) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?.into_std()?;
        let shared = Arc::new(Shared {
            verifiers: Mutex::default(),
            any_path,
            on_arrival,
        });
        Ok(Self { listener, shared })
    }

    /// Address that it listens on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Checks what arrives at `path` by `verifier`.
    pub fn verify(&self, path: impl Into<String>, verifier: Verifier) {
        let mut verifiers = self
            .shared
            .verifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        verifiers.insert(path.into(), verifier);
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
        let verifiers = shared
            .verifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        verifiers.get(&path).cloned()
    };
    let signature = match own.as_ref().or(shared.any_path.as_ref()) {
        Some(verifier) => match verifier.verify(&headers, body.clone(), SystemTime::now()) {
            Ok(_) => SignatureCheck::Valid,
            Err(_) => SignatureCheck::Invalid,
        },
        None => SignatureCheck::Unchecked,
    };
    (shared.on_arrival)(&Arrival {
        path,
        headers,
        body,
        signature,
    })
}
