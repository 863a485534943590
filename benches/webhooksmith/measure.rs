//! The measured half of a comparison: one library in a process of its own, which says on its output what it has done. Both
//! programs include it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

const WARM_UP: Duration = Duration::from_millis(300);

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A library with its store open.
pub trait Library: Send + Sync + Sized + 'static {
    /// Opens the store and registers so many endpoints at the receiver, all subscribed to `order.paid`.
    fn open(
        store: &str,
        receiver: &str,
        endpoints: usize,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Queues an event for all of them; answers for how many.
    fn fan_out(&self) -> impl Future<Output = Result<usize, Failure>> + Send;

    /// Delivers until the process is killed.
    fn deliver(&self) -> impl Future<Output = ()> + Send;
}

/// Payload of every event: some 200 bytes.
pub fn payload() -> serde_json::Value {
    serde_json::json!({
        "order": "ord_123456789", "customer": "cus_987654321", "currency": "EUR", "total": 12_999,
        "items": [{ "sku": "book-42", "count": 2 }, { "sku": "pen-7", "count": 10 }], "note": "leave at the door",
    })
}

/// `queue STORE RECEIVER ENDPOINTS CALLERS SECONDS` prints the fan-outs queued a second; `deliver STORE RECEIVER ENDPOINTS EVENTS`
/// queues a backlog, says so, and delivers it.
pub async fn run<L: Library>(arguments: &[String]) -> Result<(), Failure> {
    let [what, store, receiver, endpoints, rest @ ..] = arguments else {
        return Err("arguments: queue | deliver, store, receiver, endpoints, …".into());
    };
    let endpoints = endpoints.parse()?;
    let library = Arc::new(L::open(store, receiver, endpoints).await?);
    match (what.as_str(), rest) {
        ("queue", [callers, seconds]) => {
            let (callers, seconds) = (callers.parse()?, seconds.parse()?);
            let rate = queue(&library, endpoints, callers, Duration::from_secs(seconds)).await?;
            println!("{rate}");
        }
        ("deliver", [events]) => {
            let events: u64 = events.parse()?;
            for _ in 0..events {
                library.fan_out().await?;
            }
            println!("queued");
            library.deliver().await;
        }
        _ => return Err("neither queue nor deliver, or too few arguments".into()),
    }
    Ok(())
}

/// Lets so many callers fan out, each one event after the other. Answers the events a second that were queued once they were under
/// way, at least one of them.
async fn queue<L: Library>(
    library: &Arc<L>,
    endpoints: usize,
    callers: usize,
    time: Duration,
) -> Result<f64, Failure> {
    let count = Arc::new(AtomicU64::new(0));
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        let (library, count) = (library.clone(), count.clone());
        calling.spawn(async move {
            loop {
                let queued = library.fan_out().await?;
                if queued != endpoints {
                    return Err(Failure::from(format!("{queued} of {endpoints}")));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let measured = async {
        sleep(WARM_UP).await;
        let (before, began) = (count.load(Ordering::Relaxed), Instant::now());
        sleep(time).await;
        loop {
            let queued = count.load(Ordering::Relaxed) - before;
            if queued > 0 {
                return queued as f64 / began.elapsed().as_secs_f64();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        rate = measured => Ok(rate),
        Some(ended) = calling.join_next() => ended?,
    }
}
