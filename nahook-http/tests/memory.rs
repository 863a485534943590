//! Memory that the server holds for bodies that it refuses. Alone in its process, so that no other test's memory counts.

#![cfg(test)]

use std::sync::Arc;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::{
    Admission, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore, FanOut, GcraLimiter,
    SystemClock,
};
use nahook_http::{Ingestion, ServeSettings, ingestion_router, serve, with_fallbacks};
use nahook_memory::MemoryStore;
use nahook_supervision::Supervisor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "nhk_us_key_0000000000000000000000000";
const CLIENTS: usize = 8;
const MEGABYTE: usize = 1_000_000;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bodies_of_100_mb_are_not_held() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ServeSettings::default();
    let stop = std::future::pending();
    tokio::spawn(serve(
        listener,
        router().await,
        settings,
        Supervisor::new(),
        stop,
    ));
    let before = peak_bytes();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(async move { send_100_mb(address).await }))
        .collect();
    for client in clients {
        let answer = client.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let grown = peak_bytes() - before;
    assert!(grown < CLIENTS * 2 * MEGABYTE, "{grown} bytes");
}

async fn router() -> axum::Router {
    let memory = MemoryStore::default();
    let manifest = serde_json::from_value(serde_json::json!({"workspaces": [{
        "name": "w", "api_keys": [{"name": "k", "key": KEY}],
    }]}));
    let manifest = manifest.unwrap();
    memory.apply(&manifest, ApplyMode::Commit).await.unwrap();
    let memory = Arc::new(memory);
    let subscriptions: Arc<dyn DynSubscriptionStore> = Arc::<MemoryStore>::clone(&memory);
    let publisher: Arc<dyn DynDeliveryPublisher> = Arc::<MemoryStore>::clone(&memory);
    let limiter: Arc<dyn DynRateLimiter> = Arc::new(GcraLimiter::new(Arc::new(SystemClock)));
    let engine = Admission::new(FanOut::new(subscriptions, publisher), limiter);
    let ingestion = Ingestion::new(Arc::new(engine), memory);
    with_fallbacks(ingestion_router(ingestion))
}

/// Sends everything before it reads anything.
async fn send_100_mb(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /ingest/event/a HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b' '; 1 << 14];
    for _ in 0..100 * MEGABYTE / chunk.len() {
        stream.write_all(b"4000\r\n").await.unwrap();
        stream.write_all(&chunk).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    let mut answer = [0; 1024];
    let len = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

/// The most memory this process has ever had resident.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}
