//! The server over real sockets.

mod clients;
mod crowds;
mod limits;
mod refusals;
mod restarts;
mod stopping;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use nahook_http::{ServeSettings, serve, with_fallbacks};
use nahook_supervision::Supervisor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::ingestion::support::KEY;

/// A server that stops when told.
struct Server {
    address: SocketAddr,
    supervisor: Supervisor,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(router: Router, settings: ServeSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let supervisor = Supervisor::new();
        let stop_or_drop = async {
            let _ = stopped.await;
        };
        let serving = serve(listener, router, settings, supervisor.clone(), stop_or_drop);
        Self {
            address,
            supervisor,
            stop: Some(stop),
            serving: tokio::spawn(serving),
        }
    }

    /// Connects from another address of this machine.
    async fn connect_from(&self, address: [u8; 4]) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Client {
            stream: socket.connect(self.address).await.unwrap(),
            unread: Vec::new(),
        }
    }

    async fn connect(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            unread: Vec::new(),
        }
    }

    fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    async fn stop(mut self) {
        self.begin_to_stop();
        self.serving.await.unwrap();
    }
}

/// A client that speaks bytes.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One answer: its head in lower case, and its body. `None` if the connection ends before.
    async fn answer(&mut self) -> Option<(String, String)> {
        let head = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head: Vec<_> = self.unread.drain(..end + 4).collect();
                break String::from_utf8(head).unwrap().to_lowercase();
            }
            self.more().await?;
        };
        let len = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |len| len.parse().unwrap());
        while self.unread.len() < len {
            self.more().await?;
        }
        let body = self.unread.drain(..len).collect();
        Some((head, String::from_utf8(body).unwrap()))
    }

    /// One answer's status.
    async fn status(&mut self) -> Option<u16> {
        let (head, _) = self.answer().await?;
        head.split(' ').nth(1).map(|status| status.parse().unwrap())
    }

    async fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let len = self.stream.read(&mut bytes).await.ok()?;
        self.unread.extend_from_slice(&bytes[..len]);
        (len > 0).then_some(())
    }
}

/// A route that tells when it was reached, and answers when it may.
fn held_back(reached: &Arc<Notify>, released: &Arc<Notify>) -> Router {
    let (reached, released) = (Arc::clone(reached), Arc::clone(released));
    with_fallbacks(Router::new().route(
        "/",
        get(move || async move {
            reached.notify_one();
            released.notified().await;
            "done"
        }),
    ))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A whole Trigger, with further header lines.
fn trigger(more: &str) -> String {
    let body = r#"{"payload":{}}"#;
    format!(
        "POST /api/ingest/event/order.paid HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n\
         {more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
