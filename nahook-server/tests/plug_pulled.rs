//! The plug is pulled, again and again: what was answered is what happens.
//!
//! `NAHOOK_PLUG_ROUNDS` and `NAHOOK_PLUG_SEED` choose how often and when.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test calls fails like a test"
)]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::support::api::{Answer, Api};
use self::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use self::support::receiver::{Arrival, Receiver};
use self::support::server::Server;

const ENDPOINTS: usize = 20;
const CLIENTS: u64 = 6;
const ROUNDS: u64 = 50;
const DISABLED_KEY: &str =
    "nhk_us_00000000000000000000000000000000000000000000000000000000disabled";
/// How long deliveries may take to arrive after the last start: longer than any lease lasts.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// How many lost deliveries are named: after the first few, the number says it.
const LOST_SHOWN_MAX: u64 = 20;

/// `SplitMix64`: the same seed gives the same plan.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.next() % (range.end - range.start))
    }
}

/// What a client knows of its request.
#[derive(Debug)]
enum Fate {
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

/// From when the plug was pulled until the next process listened.
struct Outage {
    from: Instant,
    to: Instant,
}

/// Everything that clients were told, by the marker in the payload.
type Told = Arc<Mutex<HashMap<u64, Fate>>>;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn manifest(receiver: &Receiver) -> Value {
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
    mut address: watch::Receiver<Option<SocketAddr>>,
    stop: watch::Receiver<bool>,
    markers: Arc<AtomicU64>,
    told: Told,
    seed: u64,
) {
    let mut random = Random(seed);
    let mut clients: Option<(Api, Api)> = None;
    while !*stop.borrow() {
        let Some(now) = *address.borrow_and_update() else {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        };
        let is_current = clients.as_ref().is_some_and(|(api, _)| api.address == now);
        if !is_current {
            clients = Some((Api::new(now, KEY), Api::new(now, DISABLED_KEY)));
        }
        let (api, disabled) = clients.as_ref().unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_what_is_delivered() {
    let rounds = from_env("NAHOOK_PLUG_ROUNDS", ROUNDS);
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let seed = from_env("NAHOOK_PLUG_SEED", seconds);
    println!("plug pulled: NAHOOK_PLUG_SEED={seed} NAHOOK_PLUG_ROUNDS={rounds}");
    let mut random = Random(seed);
    let receiver = Receiver::start().await;
    let mut server = Server::with(&manifest(&receiver)).await;

    let (address, addresses) = watch::channel(Some(server.address));
    let (stop, stopped) = watch::channel(false);
    let (markers, told) = (Arc::new(AtomicU64::new(1)), Told::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (addresses, stopped) = (addresses.clone(), stopped.clone());
        let (markers, told) = (Arc::clone(&markers), Arc::clone(&told));
        clients.spawn(client(addresses, stopped, markers, told, random.next()));
    }

    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(50..600)).await;
        let from = Instant::now();
        server.process.kill();
        address.send_replace(None);
        // Sometimes the next process does not even get to listen.
        while random.next().is_multiple_of(4) {
            server.launch_again();
            tokio::time::sleep(random.millis(1..150)).await;
            server.process.kill();
        }
        server.start_again().await;
        outages.push(Outage {
            from,
            to: Instant::now(),
        });
        address.send_replace(Some(server.address));
    }
    stop.send_replace(true);
    clients.join_all().await;

    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    let drained = drain(&receiver, &told).await;
    let counts = Counts::of(&told, &drained, &outages);
    println!("plug pulled: {rounds} rounds, {counts}");
    assert_eq!(counts.lost, 0, "seed {seed}");
    let enough_happened = counts.accepted > rounds && counts.refused > 0;
    assert!(enough_happened, "too little to tell: {counts}");
}

/// Waits until every delivery that was promised has arrived, or time is up, and then some for what should not come.
async fn drain(receiver: &Receiver, told: &HashMap<u64, Fate>) -> Vec<Arrival> {
    let promised: usize = told
        .values()
        .map(|fate| {
            if let Fate::Accepted { ids, .. } = fate {
                ids.len()
            } else {
                0
            }
        })
        .sum();
    let give_up = Instant::now() + DRAIN_MAX;
    let (mut seen, mut quiet_since) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = receiver.len();
        if now != seen {
            (seen, quiet_since) = (now, Instant::now());
        }
        let is_quiet = quiet_since.elapsed() > Duration::from_secs(1);
        if (now >= promised && is_quiet && missing(receiver, told) == 0) || Instant::now() > give_up
        {
            return receiver.arrivals();
        }
    }
}

fn missing(receiver: &Receiver, told: &HashMap<u64, Fate>) -> usize {
    let arrivals = receiver.arrivals();
    let arrived: std::collections::HashSet<_> = arrivals
        .iter()
        .map(|arrival| arrival.header("nahook-delivery-id"))
        .collect();
    let ids = told.values().filter_map(|fate| match fate {
        Fate::Accepted { ids, .. } => Some(ids),
        _ => None,
    });
    ids.flatten()
        .filter(|id| !arrived.contains(id.as_str()))
        .count()
}

/// What happened, in numbers.
#[derive(Default)]
struct Counts {
    accepted: u64,
    refused: u64,
    unanswered: u64,
    unanswered_but_delivered: u64,
    promised: u64,
    arrived: u64,
    repeated: u64,
    lost: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "requests: {} accepted, {} refused, {} unanswered ({} of them delivered); \
             deliveries: {} promised, {} arrived, {} repeated, lost={}",
            self.accepted,
            self.refused,
            self.unanswered,
            self.unanswered_but_delivered,
            self.promised,
            self.arrived,
            self.repeated,
            self.lost,
        )
    }
}

impl Counts {
    /// Judges every arrival and every promise; panics at the first arrival that should not be.
    fn of(told: &HashMap<u64, Fate>, arrivals: &[Arrival], outages: &[Outage]) -> Self {
        let mut counts = Self {
            arrived: arrivals.len() as u64,
            ..Self::default()
        };
        let mut by_id: HashMap<&str, Vec<&Arrival>> = HashMap::new();
        let mut markers = std::collections::HashSet::new();
        for arrival in arrivals {
            let payload: Value = serde_json::from_slice(&arrival.body).unwrap();
            let marker = payload["marker"].as_u64().unwrap();
            judge(arrival, marker, told.get(&marker).unwrap_or(&Fate::Unknown));
            markers.insert(marker);
            by_id
                .entry(arrival.header("nahook-delivery-id"))
                .or_default()
                .push(arrival);
        }
        for (marker, fate) in told {
            match fate {
                Fate::Accepted { ids, .. } => {
                    counts.accepted += 1;
                    counts.promised += ids.len() as u64;
                    let lost = ids.iter().filter(|id| !by_id.contains_key(id.as_str()));
                    for id in lost {
                        counts.lost += 1;
                        if counts.lost <= LOST_SHOWN_MAX {
                            println!("lost: {id} of {marker}");
                        }
                    }
                }
                Fate::Refused(_) => counts.refused += 1,
                Fate::Unknown => {
                    counts.unanswered += 1;
                    counts.unanswered_but_delivered += u64::from(markers.contains(marker));
                }
            }
        }
        for (id, arrivals) in by_id {
            counts.repeated += arrivals.len() as u64 - 1;
            for pair in arrivals.windows(2) {
                assert_explained(id, pair[0], pair[1], outages);
            }
        }
        counts
    }
}

/// Whether this delivery may have happened at all.
fn judge(arrival: &Arrival, marker: u64, fate: &Fate) {
    let id = arrival.header("nahook-delivery-id");
    match fate {
        Fate::Accepted { ids, failures } => {
            let endpoint = arrival.path.trim_start_matches('/');
            match failures.get(endpoint).map(String::as_str) {
                None => assert!(
                    ids.iter().any(|told| told == id),
                    "{id} of {marker} was not told"
                ),
                Some("unconfirmed" | "internal_error") => {}
                Some(definite) => panic!("{id} of {marker} was delivered and told as {definite}"),
            }
        }
        Fate::Refused(status) => panic!("{id} of {marker} was delivered and answered {status}"),
        Fate::Unknown => {}
    }
}

/// A repeat without an outage between the two is a defect: nothing here ever fails or is slow.
fn assert_explained(id: &str, first: &Arrival, second: &Arrival, outages: &[Outage]) {
    let explains = |outage: &Outage| first.at <= outage.to && second.at >= outage.from;
    assert!(
        outages.iter().any(explains),
        "{id} was delivered twice with no outage between: {first:?} {second:?}"
    );
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
}
