//! Clients that trigger, and what they are told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::random::Random;
use super::support::api::{Answer, Api};
use super::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use super::support::receiver::Receiver;

pub(crate) const ENDPOINTS: usize = 20;
const CLIENTS: u64 = 6;
const DISABLED_KEY: &str =
    "nhk_us_00000000000000000000000000000000000000000000000000000000disabled";

/// A client's knowledge of its request.
#[derive(Debug)]
pub(crate) enum Fate {
    /// 202, and what it says of each endpoint: the delivery's id, or a failure's code.
    Accepted {
        ids: Vec<String>,
        failures: HashMap<String, String>,
    },
    /// Any other status.
    Refused(u16),
    /// No whole answer.
    Unknown,
}

/// Everything that clients were told, by the marker in the payload.
pub(crate) type Told = HashMap<u64, Fate>;

/// Clients at work.
pub(crate) struct Load {
    addresses: watch::Sender<Vec<SocketAddr>>,
    stop: watch::Sender<bool>,
    told: Arc<Mutex<Told>>,
    /// In microseconds.
    slowest: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Load {
    /// Clients that ask these servers in turn.
    pub(crate) fn start(addresses: Vec<SocketAddr>, random: &mut Random) -> Self {
        let (addresses, _) = watch::channel(addresses);
        let (stop, _) = watch::channel(false);
        let (markers, told) = (Arc::new(AtomicU64::new(1)), Arc::default());
        let slowest = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (addresses, stop) = (addresses.subscribe(), stop.subscribe());
            let (markers, told) = (Arc::clone(&markers), Arc::clone(&told));
            let slowest = Arc::clone(&slowest);
            clients.spawn(client(
                addresses,
                stop,
                markers,
                told,
                slowest,
                random.next(),
            ));
        }
        Self {
            addresses,
            stop,
            told,
            slowest,
            clients,
        }
    }

    /// From now on these are asked.
    pub(crate) fn ask(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// Returns the duration of the slowest answer so far.
    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(Ordering::Relaxed))
    }

    /// Ends the clients; answers what they were told.
    pub(crate) async fn end(self) -> Told {
        self.stop.send_replace(true);
        self.clients.join_all().await;
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) fn manifest(receiver: &Receiver) -> Value {
    let endpoints =
        (0..ENDPOINTS).map(|n| endpoint(&format!("ep_{n}"), &receiver.url(&format!("/ep_{n}"))));
    let mut manifest = shop(endpoints.collect());
    let workspace = &mut manifest["workspaces"][0];
    workspace["plan"] = json!({ "payload_len_max": 10_000 });
    let disabled = json!({ "name": "disabled", "key": DISABLED_KEY, "disabled": true });
    workspace["api_keys"].as_array_mut().unwrap().push(disabled);
    manifest
}

/// Triggers until told to stop; now and then something that must be refused.
async fn client(
    mut addresses: watch::Receiver<Vec<SocketAddr>>,
    stop: watch::Receiver<bool>,
    markers: Arc<AtomicU64>,
    told: Arc<Mutex<Told>>,
    slowest: Arc<AtomicU64>,
    seed: u64,
) {
    let mut random = Random::new(seed);
    let mut clients = HashMap::new();
    for turn in 0.. {
        if *stop.borrow() {
            return;
        }
        let now = addresses.borrow_and_update().clone();
        clients.retain(|address, _| now.contains(address));
        let Some(address) = now.get(turn % now.len().max(1)) else {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        };
        let (api, disabled) = clients
            .entry(*address)
            .or_insert_with(|| (Api::new(*address, KEY), Api::new(*address, DISABLED_KEY)));
        let marker = markers.fetch_add(1, Ordering::Relaxed);
        let (filler, event_type, by) = match random.next() % 20 {
            0 => (String::new(), "order.unheard-of", api),
            1 => (String::new(), EVENT_TYPE, disabled),
            2 => ("x".repeat(20_000), EVENT_TYPE, api),
            n => (
                "x".repeat(usize::try_from(n * 20).unwrap()),
                EVENT_TYPE,
                api,
            ),
        };
        let body = json!({ "payload": { "marker": marker, "filler": filler } }).to_string();
        let asked_at = Instant::now();
        let answer = by
            .try_post(&format!("/api/ingest/event/{event_type}"), body)
            .await;
        let took = asked_at.elapsed().as_micros();
        slowest.fetch_max(u64::try_from(took).unwrap(), Ordering::Relaxed);
        let fate = answer.map_or(Fate::Unknown, |answer| fate(&answer));
        told.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(marker, fate);
        tokio::time::sleep(random.millis(0..60)).await;
    }
}

fn fate(answer: &Answer) -> Fate {
    if answer.status != 202 {
        return Fate::Refused(answer.status);
    }
    let json = answer.json();
    let failures = json["failures"].as_array().unwrap().iter();
    let text = |failure: &Value, field: &str| failure[field].as_str().unwrap().to_owned();
    let failures = failures
        .map(|f| (text(f, "endpointId"), text(f, "code")))
        .collect();
    Fate::Accepted {
        ids: answer.delivery_ids(),
        failures,
    }
}
