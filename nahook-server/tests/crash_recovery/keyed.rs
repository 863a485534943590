//! Sends with idempotency keys, each repeated with its key until it is answered: a key ends in one delivery.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nahook_core::id::DeliveryId;
use nahook_testserver::PostgresServer;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};

use super::load::{ENDPOINTS, manifest};
use super::random::Random;
use super::rounds;
use super::support::api::Api;
use super::support::manifest::KEY;
use super::support::receiver::Receiver;
use super::support::server::Server;

const FILE_ROUNDS: u64 = 25;
const SHARED_ROUNDS: u64 = 5;
const CLIENTS: u64 = 6;
/// Upper bound on further rounds until a request is under way when its server is killed.
const ROUNDS_MORE_MAX: u64 = 200;
/// Upper bound on the wait for the answer to a key, and for deliveries after the last start.
const PATIENCE: Duration = Duration::from_secs(90);

/// Answers that the clients got.
#[derive(Default)]
struct Told {
    /// The deliveries that each key was answered with, and the endpoint it is for.
    ids: HashMap<u64, (usize, HashSet<String>)>,
    /// Requests that got no whole answer.
    interrupted: u64,
    /// Requests that came after such a one and were answered with what that one had queued.
    found_again: u64,
    /// Requests with a key that was answered already.
    repeated: u64,
}

impl Told {
    /// Asserts that no key was answered with two deliveries.
    fn check(&self, what: &str, rounds: u64) {
        for (key, (_, ids)) in &self.ids {
            assert_eq!(ids.len(), 1, "key {key} was answered with {ids:?}");
        }
        println!(
            "{what} killed between Sends with keys: {rounds} rounds, {} keys, {} requests without a whole answer, \
             {} of which had queued their delivery, {} repeats of what was answered; a second delivery: 0",
            self.ids.len(),
            self.interrupted,
            self.found_again,
            self.repeated,
        );
    }
}

/// Clients at work.
struct Clients {
    addresses: watch::Sender<Vec<SocketAddr>>,
    stop: watch::Sender<bool>,
    told: Arc<Mutex<Told>>,
    running: JoinSet<()>,
}

impl Clients {
    fn start(addresses: Vec<SocketAddr>, random: &mut Random) -> Self {
        let (addresses, _) = watch::channel(addresses);
        let (stop, _) = watch::channel(false);
        let (keys, told) = (Arc::new(AtomicU64::new(1)), Arc::default());
        let mut running = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = Client {
                addresses: addresses.subscribe(),
                told: Arc::clone(&told),
                apis: HashMap::new(),
                random: Random::new(random.next()),
            };
            running.spawn(client.run(Arc::clone(&keys), stop.subscribe()));
        }
        Self {
            addresses,
            stop,
            told,
            running,
        }
    }

    fn ask(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// Returns true until there were that many rounds, a request was cut off, and a key was sent again.
    fn want_more(&self, done: u64, rounds: u64) -> bool {
        assert!(done < rounds + ROUNDS_MORE_MAX, "too little to tell");
        let told = self.told.lock().unwrap();
        done < rounds || told.interrupted == 0 || told.repeated == 0
    }

    /// Ends the clients, once each has an answer for its key.
    async fn end(self) -> Told {
        self.stop.send_replace(true);
        self.running.join_all().await;
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

struct Client {
    addresses: watch::Receiver<Vec<SocketAddr>>,
    told: Arc<Mutex<Told>>,
    apis: HashMap<SocketAddr, Api>,
    random: Random,
}

impl Client {
    async fn run(mut self, keys: Arc<AtomicU64>, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let key = keys.fetch_add(1, Ordering::Relaxed);
            let endpoint = usize::try_from(self.random.next()).unwrap() % ENDPOINTS;
            self.send(endpoint, key).await;
            // A client that is not sure asks again though it was answered, soon or after whatever has happened since.
            while self.random.next().is_multiple_of(3) {
                tokio::time::sleep(self.random.millis(0..200)).await;
                self.send(endpoint, key).await;
                self.told.lock().unwrap().repeated += 1;
            }
            tokio::time::sleep(self.random.millis(0..20)).await;
        }
    }

    /// Sends until there is an answer.
    async fn send(&mut self, endpoint: usize, key: u64) {
        let (path, body) = request(endpoint, key);
        let give_up = Instant::now() + PATIENCE;
        let mut is_interrupted = false;
        loop {
            assert!(Instant::now() < give_up, "key {key} is not answered");
            let Some(api) = self.api() else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            let asked_at = now_millis();
            match api.try_post(&path, body.clone()).await {
                Ok(answer) if answer.status == 202 => {
                    let told = answer.json()["deliveryId"].as_str().unwrap().to_owned();
                    let id: DeliveryId = told.parse().unwrap();
                    let mut all = self.told.lock().unwrap();
                    let of_key = all.ids.entry(key).or_default();
                    let is_first = of_key.1.is_empty();
                    of_key.0 = endpoint;
                    of_key.1.insert(told);
                    // An id begins with the milliseconds of its drawing.
                    let is_older = id.as_bits() >> 80 < asked_at;
                    all.found_again += u64::from(is_first && is_interrupted && is_older);
                    return;
                }
                // Down for now, or not sure: with a key it is safe to ask again.
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(_) => {
                    self.told.lock().unwrap().interrupted += 1;
                    is_interrupted = true;
                }
            }
        }
    }

    /// One of those that are asked now.
    fn api(&mut self) -> Option<Api> {
        let now = self.addresses.borrow_and_update().clone();
        self.apis.retain(|address, _| now.contains(address));
        let nth = usize::try_from(self.random.next()).unwrap() % now.len().max(1);
        let address = *now.get(nth)?;
        let api = self.apis.entry(address);
        Some(api.or_insert_with(|| Api::new(address, KEY)).clone())
    }
}

fn request(endpoint: usize, key: u64) -> (String, String) {
    let body = json!({ "payload": { "marker": key }, "idempotencyKey": format!("key-{key}") });
    (format!("/api/ingest/ep_{endpoint}"), body.to_string())
}

fn now_millis() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_millis()
}

/// Sends every key once more, when all is calm: each is answered as before.
async fn ask_once_more(server: &Server, told: &Told) {
    let api = server.api();
    for (key, (endpoint, ids)) in &told.ids {
        let (path, body) = request(*endpoint, *key);
        let answer = api.post(&path, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.json()["deliveryId"].as_str().unwrap().to_owned();
        assert!(ids.contains(&id), "key {key}: {id} is not {ids:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_in_one_delivery_whenever_the_server_is_killed() {
    let (rounds, mut random) = rounds("NAHOOK_CRASH_KEYED_ROUNDS", FILE_ROUNDS);
    let receiver = Receiver::start().await;
    let mut server = Server::with(&manifest(&receiver)).await;
    let clients = Clients::start(vec![server.address], &mut random);
    let mut done = 0;
    while clients.want_more(done, rounds) {
        done += 1;
        tokio::time::sleep(random.millis(30..300)).await;
        server.process.kill();
        clients.ask(vec![]);
        server.start_again().await;
        clients.ask(vec![server.address]);
    }
    let told = clients.end().await;
    ask_once_more(&server, &told).await;

    // Every delivery that was told arrives, and for each key no other.
    let give_up = Instant::now() + PATIENCE;
    let told_ids: HashSet<_> = told.ids.values().flat_map(|(_, ids)| ids).collect();
    let mut arrived: HashMap<u64, HashSet<String>>;
    loop {
        let before = receiver.len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        arrived = HashMap::new();
        for arrival in receiver.arrivals() {
            let payload: Value = serde_json::from_slice(&arrival.body).unwrap();
            let marker = payload["marker"].as_u64().unwrap();
            let id = arrival.header("nahook-delivery-id").to_owned();
            arrived.entry(marker).or_default().insert(id);
        }
        let ids: HashSet<_> = arrived.values().flatten().collect();
        if receiver.len() == before && told_ids.is_subset(&ids) {
            break;
        }
        let missing = told_ids.difference(&ids).count();
        assert!(Instant::now() < give_up, "{missing} have not arrived");
    }
    for (key, ids) in &arrived {
        assert_eq!(*ids, told.ids[key].1, "the deliveries of key {key}");
    }
    told.check("a server on a file", done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_in_one_delivery_whichever_of_two_servers_is_killed() {
    let (rounds, mut random) = rounds("NAHOOK_CRASH_KEYED_SERVER_ROUNDS", SHARED_ROUNDS);
    let receiver = Receiver::start().await;
    let database = PostgresServer::start();
    let url = database.create_database();
    let mut servers: [Server; 2] = Server::sharing(&url, &manifest(&receiver)).await;
    let both = |servers: &[Server; 2]| servers.iter().map(|server| server.address).collect();
    let clients = Clients::start(both(&servers), &mut random);
    let mut done = 0;
    while clients.want_more(done, rounds) {
        done += 1;
        tokio::time::sleep(random.millis(30..500)).await;
        let one = usize::from(random.next().is_multiple_of(2));
        servers[one].process.kill();
        clients.ask(vec![servers[1 - one].address]);
        servers[one].start_again().await;
        clients.ask(both(&servers));
    }
    let told = clients.end().await;
    ask_once_more(&servers[0], &told).await;
    ask_once_more(&servers[1], &told).await;

    // Nothing but what was told is queued, whether it was delivered by now or not.
    let rows = "SELECT (SELECT count(*) FROM nahook.delivery)
        + (SELECT count(*) FROM nahook.open_deliveries(0, 9223372036854775807))";
    let rows = block_in_place(|| database.query(&url, rows));
    assert_eq!(rows, told.ids.len().to_string());
    told.check("one of two servers", done);
}
