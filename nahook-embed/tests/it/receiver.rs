//! A receiver of webhooks that answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) struct Receiver {
    pub(crate) url: String,
    status: Arc<AtomicU16>,
    arrived: UnboundedReceiver<(HeaderMap, Bytes)>,
}

#[derive(Clone)]
struct Shared {
    status: Arc<AtomicU16>,
    arriving: UnboundedSender<(HeaderMap, Bytes)>,
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let _ = shared.arriving.send((headers, body));
    StatusCode::from_u16(shared.status.load(Ordering::SeqCst)).unwrap()
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let (arriving, arrived) = unbounded_channel();
        let status = Arc::new(AtomicU16::new(204));
        let shared = Shared {
            status: Arc::clone(&status),
            arriving,
        };
        let router = Router::new().fallback(take).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            status,
            arrived,
        }
    }

    pub(crate) fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The headers and the body of the next webhook.
    pub(crate) async fn next(&mut self) -> (HeaderMap, Bytes) {
        self.arrived.recv().await.unwrap()
    }

    /// The bodies of the next webhooks, in no order of their own.
    pub(crate) async fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            let (_, body) = self.next().await;
            bodies.push(String::from_utf8(body.to_vec()).unwrap());
        }
        bodies.sort();
        bodies
    }

    /// The next webhook, if it is there.
    pub(crate) fn next_now(&mut self) -> Option<(HeaderMap, Bytes)> {
        self.arrived.try_recv().ok()
    }

    pub(crate) fn has_no_more(&mut self) -> bool {
        self.next_now().is_none()
    }
}
