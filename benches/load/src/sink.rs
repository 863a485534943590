//! A receiver that takes every webhook at once and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::http::Reader;

/// Arrivals at the sink.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Stats {
    /// Number of webhooks.
    pub(crate) arrivals: u64,
    /// Arrival of the last one, in nanoseconds since 1970.
    pub(crate) last_at: u64,
}

#[derive(Default)]
struct Counts {
    arrivals: AtomicU64,
    last_at: AtomicU64,
}

/// Serves until it is killed.
pub(crate) fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("listening on {}", listener.local_addr()?);
        let counts = Arc::new(Counts::default());
        loop {
            let (stream, _) = listener.accept().await?;
            let counts = Arc::clone(&counts);
            // A connection that breaks is the client's business.
            tokio::spawn(async move { take(stream, &counts).await });
        }
    })
}

async fn take(stream: TcpStream, counts: &Counts) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut reader = Reader::new(read);
    while let Some(message) = reader.next(false).await? {
        if message.is_stats {
            let stats = serde_json::to_string(&Stats {
                arrivals: counts.arrivals.load(Ordering::Relaxed),
                last_at: counts.last_at.load(Ordering::Relaxed),
            })?;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", stats.len());
            write.write_all(format!("{head}{stats}").as_bytes()).await?;
        } else {
            counts.last_at.fetch_max(now_nanos(), Ordering::Relaxed);
            counts.arrivals.fetch_add(1, Ordering::Relaxed);
            write.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        }
    }
    Ok(())
}

/// Nanoseconds since 1970, comparable between processes.
pub(crate) fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

/// Returns the arrivals at the sink at that address.
pub(crate) fn stats(address: &str) -> Result<Stats, Failure> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nhost: sink\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    loop {
        let read = stream.read(&mut part)?;
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(stats) = serde_json::from_str(body)
        {
            return Ok(stats);
        }
        if read == 0 {
            return Err("the sink does not say what arrived".into());
        }
    }
}
