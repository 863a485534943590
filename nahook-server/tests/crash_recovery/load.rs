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
pub(crate) const CLIENTS: usize = 6;
/// Upper bound on the wait for something that clients are to be told, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
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

impl Fate {
    /// Returns true if the answer says of an endpoint that its delivery is not queued, or not known to be.
    pub(crate) fn has_failures(&self) -> bool {
        matches!(self, Self::Accepted { failures, .. } if !failures.is_empty())
    }

    /// Returns true if the answer says that nothing was queued, for lack of room.
    pub(crate) fn is_turned_away(&self) -> bool {
        matches!(self, Self::Refused(503))
    }

    /// Returns true if the answer says of every endpoint that its delivery is queued.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Accepted { failures, .. } if failures.is_empty())
    }
}

/// Everything that clients were told, by the marker in the payload.
pub(crate) type Told = HashMap<u64, Fate>;

/// Clients at work.
pub(crate) struct Load {
    addresses: watch::Sender<Vec<SocketAddr>>,
    stop: watch::Sender<bool>,
    told: Arc<Mutex<Told>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Clients that ask these servers in turn.
    pub(crate) fn start(addresses: Vec<SocketAddr>, random: &mut Random) -> Self {
        let (addresses, _) = watch::channel(addresses);
        let (stop, _) = watch::channel(false);
        let (markers, told) = (Arc::new(AtomicU64::new(1)), Arc::default());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (addresses, stop) = (addresses.subscribe(), stop.subscribe());
            let (markers, told) = (Arc::clone(&markers), Arc::clone(&told));
            clients.spawn(client(addresses, stop, markers, told, random.next()));
        }
        Self {
            addresses,
            stop,
            told,
            clients,
        }
    }

    /// From now on these are asked.
    pub(crate) fn ask(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// Waits until clients have been told `times` more of what `is_one` recognises.
    pub(crate) async fn until(&self, times: usize, is_one: fn(&Fate) -> bool) {
        let number = || {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.values().filter(|fate| is_one(fate)).count()
        };
        let enough = number() + times;
        let give_up = Instant::now() + PATIENCE;
        while number() < enough {
            assert!(
                Instant::now() < give_up,
                "{} of {enough} were told",
                number()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the clients, once one more event was queued whole and one refused; answers what they were told.
    pub(crate) async fn end(self) -> Told {
        self.until(1, Fate::is_whole).await;
        self.until(1, |fate| matches!(fate, Fate::Refused(_))).await;
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
        let answer = by
            .try_post(&format!("/api/ingest/event/{event_type}"), body)
            .await;
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
