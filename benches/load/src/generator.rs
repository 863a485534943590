//! The load: so many connections, each with one request in flight, or requests at a fixed rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Failure;
use crate::http::Reader;
use crate::process::cost_of;

/// Options of the load generator.
#[derive(Args, Clone)]
pub(crate) struct GenerateArgs {
    /// Address of the server.
    #[arg(long)]
    pub(crate) address: String,
    /// Path of the request.
    #[arg(long)]
    pub(crate) path: String,
    /// As whom.
    #[arg(long)]
    pub(crate) key: String,
    /// Length of the payload in bytes.
    #[arg(long)]
    pub(crate) payload_len: usize,
    /// Number of connections.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Measured time in seconds.
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Warm-up before that, in seconds.
    #[arg(long)]
    pub(crate) warm_up: f64,
    /// So many requests a second, whether or not the earlier ones have been answered. Their latency counts from when they
    /// were due, so that an answer that makes others wait is counted as often as it does.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// The status that is a success.
    #[arg(long, default_value_t = 202)]
    pub(crate) expected: u16,
}

/// Result of a load.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Load {
    /// Requests that succeeded, a second.
    pub(crate) per_second: f64,
    /// Requests that succeeded, warm-up included.
    pub(crate) succeeded: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Processor time of the load generator, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Latencies in milliseconds.
    pub(crate) p50: f64,
    /// …
    pub(crate) p99: f64,
    /// …
    pub(crate) p999: f64,
}

/// A payload of so many bytes: an object with one text, padded.
pub(crate) fn payload(len: usize) -> String {
    let frame = r#"{"order":"","n":1}"#.len();
    format!(
        r#"{{"order":"{}","n":1}}"#,
        "x".repeat(len.saturating_sub(frame))
    )
}

struct Shared {
    request: Vec<u8>,
    expected: u16,
    began: Instant,
    measured_from: Instant,
    until: Instant,
    pace: Option<Pace>,
}

/// A fixed rate.
struct Pace {
    interval: Duration,
    /// Requests that are due and have not begun.
    due: Semaphore,
    turn: AtomicU64,
}

/// The least that the pace sleeps: fewer wake-ups leave more of the processor to what is measured.
const PACE_SLEEP_MIN: Duration = Duration::from_micros(100);

/// Says when requests are due, on a thread of its own: the runtime's timer knows whole milliseconds only, which would be in
/// every latency.
fn keep_pace(shared: &Shared) {
    let Some(pace) = &shared.pace else { return };
    let mut released: u32 = 0;
    loop {
        let now = Instant::now();
        if now >= shared.until {
            pace.due.close();
            return;
        }
        let mut count = 0;
        let next = loop {
            let next = shared.began + pace.interval.mul_f64(f64::from(released));
            if next > now {
                break next;
            }
            released += 1;
            count += 1;
        };
        pace.due.add_permits(count);
        let wait = (next.min(shared.until) - now).max(PACE_SLEEP_MIN);
        std::thread::sleep(wait);
    }
}

/// Runs the load and prints what came of it.
pub(crate) fn run(args: GenerateArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let load = runtime.block_on(generate(args))?;
    println!("{}", serde_json::to_string(&load)?);
    Ok(())
}

async fn generate(args: GenerateArgs) -> Result<Load, Failure> {
    let body = format!(r#"{{"payload":{}}}"#, payload(args.payload_len));
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        args.path,
        args.address,
        args.key,
        body.len()
    );
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        let stream = TcpStream::connect(&args.address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let began = Instant::now();
    let measured_from = began + Duration::from_secs_f64(args.warm_up);
    let shared = Arc::new(Shared {
        request: request.into_bytes(),
        expected: args.expected,
        began,
        measured_from,
        until: measured_from + Duration::from_secs_f64(args.seconds),
        pace: args.rate.map(|rate| Pace {
            interval: Duration::from_secs_f64(1.0 / rate),
            due: Semaphore::new(0),
            turn: AtomicU64::new(0),
        }),
    });
    let paced = Arc::clone(&shared);
    std::thread::spawn(move || keep_pace(&paced));
    let mut connections = JoinSet::new();
    for stream in streams {
        connections.spawn(connection(stream, Arc::clone(&shared)));
    }
    let mut latencies: Vec<u32> = Vec::new();
    let (mut succeeded, mut failed) = (0, 0);
    while let Some(ended) = connections.join_next().await {
        let ended = ended??;
        latencies.extend(ended.latencies);
        succeeded += ended.succeeded;
        failed += ended.failed;
    }
    latencies.sort_unstable();
    let quantile = |share: f64| -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "an index into latencies that were counted"
        )]
        let at = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies
            .get(at)
            .map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    Ok(Load {
        per_second: latencies.len() as f64 / args.seconds,
        succeeded,
        failed,
        cpu_seconds: cost_of(std::process::id()).cpu_seconds,
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999),
    })
}

#[derive(Default)]
struct Ended {
    latencies: Vec<u32>,
    succeeded: u64,
    failed: u64,
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> Result<Ended, Failure> {
    let (read, mut write) = stream.into_split();
    let mut reader = Reader::new(read);
    let mut ended = Ended::default();
    loop {
        let Some(due) = next_turn(&shared).await else {
            return Ok(ended);
        };
        let status = exchange(&mut reader, &mut write, &shared.request).await?;
        let now = Instant::now();
        if status != shared.expected {
            ended.failed += 1;
            continue;
        }
        ended.succeeded += 1;
        // An answer belongs to the second in which it came, as a rate is counted.
        if now >= shared.measured_from && now < shared.until {
            let micros = (now - due).as_micros();
            ended
                .latencies
                .push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }
}

/// Waits until the next request is due and returns that instant; `None` once the time is over.
async fn next_turn(shared: &Shared) -> Option<Instant> {
    let due = match &shared.pace {
        None => Instant::now(),
        Some(pace) => {
            // Closed once the time is over.
            pace.due.acquire().await.ok()?.forget();
            let turn = pace.turn.fetch_add(1, Ordering::Relaxed);
            shared.began + pace.interval.mul_f64(f64::from(u32::try_from(turn).ok()?))
        }
    };
    (due < shared.until && Instant::now() < shared.until).then_some(due)
}

async fn exchange(
    reader: &mut Reader<tokio::net::tcp::OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    request: &[u8],
) -> Result<u16, Failure> {
    write.write_all(request).await?;
    let answer = reader.next(true).await?;
    Ok(answer.ok_or("the server closed the connection")?.status)
}
