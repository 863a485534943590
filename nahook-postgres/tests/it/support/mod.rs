//! Support of the tests: a real server for all of them, a database for each.

pub(crate) mod proxy;

use std::sync::OnceLock;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog, Manifest};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock, Delivery, DeliveryPublisher, Event, Outcome, SystemClock};
use nahook_postgres::{PostgresLimiter, PostgresSettings, PostgresStore};
use nahook_queue::{DeliveryQueue, LeaseRequest, WorkerId};
use nahook_testkit::declare::{Workspace, deliveries, endpoint_id, event};
use nahook_testkit::secrets::{MASTER_KEYS, master_keys};
use nahook_testkit::{LimiterHarness, ManualClock, StoreHarness};
use nahook_testserver::{PgBouncer, PostgresServer};
use tokio_postgres::{Client, GenericClient, NoTls};

/// A store with so many connections in its pool, and so many writers, on a database of its own.
///
/// One with a single connection is on a server of the oldest version that is supported: both are tried at once.
pub(crate) struct PostgresHarness<const CONNECTIONS: usize> {
    pub(crate) url: String,
    pub(crate) store: PostgresStore,
    pub(crate) clock: ManualClock,
}

pub(crate) fn settings(connections: usize) -> PostgresSettings {
    let mut settings = PostgresSettings::default();
    settings.pool = connections;
    settings.writers = connections.min(2);
    settings
}

/// Settings of the kit's clauses: on a busy machine an answer may be late, and none of them is about that.
fn patient(connections: usize) -> PostgresSettings {
    let mut settings = settings(connections);
    settings.connect_timeout = Duration::from_mins(2);
    settings.statement_timeout = Duration::from_mins(2);
    settings.lock_timeout = Duration::from_mins(2);
    settings
}

impl<const CONNECTIONS: usize> PostgresHarness<CONNECTIONS> {
    async fn open(url: String, clock: ManualClock) -> Self {
        let settings = patient(CONNECTIONS).with_clock(clock.clone());
        let store = PostgresStore::connect(&url, settings).await.unwrap();
        Self { url, store, clock }
    }
}

impl<const CONNECTIONS: usize> StoreHarness for PostgresHarness<CONNECTIONS> {
    type Store = PostgresStore;

    async fn start() -> Self {
        let server = if CONNECTIONS == 1 {
            PostgresServer::shared_oldest()
        } else {
            PostgresServer::shared()
        };
        let url = server.create_database();
        Self::open(url, ManualClock::default()).await
    }

    fn store(&self) -> PostgresStore {
        self.store.clone()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(self) -> Option<Self> {
        self.store.close().await.unwrap();
        Some(Self::open(self.url, self.clock).await)
    }
}

/// A store behind a pooler in transaction mode that has two sessions for it, on a database of its own.
pub(crate) struct PooledHarness {
    url: String,
    store: PostgresStore,
    clock: ManualClock,
}

/// The pooler that all tests of this process share.
pub(crate) fn pooler() -> &'static PgBouncer {
    static POOLER: OnceLock<PgBouncer> = OnceLock::new();
    POOLER.get_or_init(|| PgBouncer::start(PostgresServer::shared(), 2, ""))
}

impl PooledHarness {
    async fn open(url: String, clock: ManualClock) -> Self {
        let mut settings = patient(4).with_clock(clock.clone());
        // Sealing changes nothing that anybody can see.
        settings.secret_keys = Some(master_keys(MASTER_KEYS[0]));
        let store = PostgresStore::connect(&url, settings).await.unwrap();
        Self { url, store, clock }
    }
}

impl StoreHarness for PooledHarness {
    type Store = PostgresStore;

    async fn start() -> Self {
        let direct = PostgresServer::shared().create_database();
        let harness = Self::open(pooler().url(&direct), ManualClock::default()).await;
        // Late enough for looks at the latest records alone.
        let late = "SELECT setval('nahook.event_seq', 1000000)";
        client(&direct).await.batch_execute(late).await.unwrap();
        harness
    }

    fn store(&self) -> PostgresStore {
        self.store.clone()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(self) -> Option<Self> {
        self.store.close().await.unwrap();
        Some(Self::open(self.url, self.clock).await)
    }
}

/// A limiter behind the pooler.
pub(crate) struct PooledLimiterHarness {
    store: PooledHarness,
}

impl LimiterHarness for PooledLimiterHarness {
    type Limiter = PostgresLimiter;

    async fn start() -> Self {
        let store = <PooledHarness as StoreHarness>::start().await;
        Self { store }
    }

    fn limiter(&self) -> PostgresLimiter {
        self.store.store.limiter()
    }

    fn advance(&self, by: Duration) {
        self.store.clock.advance(by);
    }
}

pub(crate) struct PostgresLimiterHarness {
    store: PostgresHarness<2>,
}

impl LimiterHarness for PostgresLimiterHarness {
    type Limiter = PostgresLimiter;

    async fn start() -> Self {
        Self {
            store: <PostgresHarness<2> as StoreHarness>::start().await,
        }
    }

    fn limiter(&self) -> PostgresLimiter {
        self.store.store.limiter()
    }

    fn advance(&self, by: Duration) {
        self.store.clock.advance(by);
    }
}

/// The store's workspace: one event type, `order.paid`, and endpoints `ep_0` … that are subscribed to it.
pub(crate) fn shop(endpoints: usize) -> Manifest {
    let workspace = Workspace::new("ws_shop").event_type("order.paid");
    let ids = (0..endpoints).map(|n| format!("ep_{n}"));
    ids.fold(workspace, |workspace, id| {
        workspace.endpoint(&id, &["order.paid"])
    })
    .manifest()
}

pub(crate) async fn connect(url: &str, settings: PostgresSettings) -> PostgresStore {
    PostgresStore::connect(url, settings).await.unwrap()
}

/// A store on a new database with that workspace.
pub(crate) async fn shop_store(endpoints: usize) -> (String, PostgresStore) {
    let url = PostgresServer::shared().create_database();
    let store = connect(&url, settings(4)).await;
    store
        .apply(&shop(endpoints), ApplyMode::Commit)
        .await
        .unwrap();
    (url, store)
}

/// Publishes an event with this number for `ep_0` …, and answers what became of it.
pub(crate) async fn publish(store: &PostgresStore, number: u64, endpoints: usize) -> Vec<Delivery> {
    let (event, mut deliveries) = order(number, endpoints);
    DeliveryPublisher::publish(store, &event, &mut deliveries).await;
    deliveries
}

/// An event with this number, and its unresolved slots for `ep_0` ….
pub(crate) fn order(number: u64, endpoints: usize) -> (Event, Vec<Delivery>) {
    let ids: Vec<_> = (0..endpoints)
        .map(|n| endpoint_id(&format!("ep_{n}")))
        .collect();
    let event = event("ws_shop", "order.paid", number, SystemClock.now());
    let deliveries = deliveries(&event, &ids);
    (event, deliveries)
}

pub(crate) fn request(max: usize) -> LeaseRequest {
    LeaseRequest::new(WorkerId(1), max, Duration::from_mins(1))
}

/// The ids of everything that can be leased now.
pub(crate) async fn leasable(store: &PostgresStore) -> Vec<DeliveryId> {
    let batch = store.lease(&request(10_000)).await.unwrap();
    let mut ids: Vec<_> = batch
        .deliveries
        .iter()
        .map(|leased| leased.lease.delivery)
        .collect();
    ids.sort();
    ids
}

/// Returns the outcomes of the slots by name.
pub(crate) fn outcomes(deliveries: &[Delivery]) -> Vec<&'static str> {
    deliveries
        .iter()
        .map(|delivery| match delivery.outcome() {
            Outcome::Published => "published",
            Outcome::Replayed(_) => "replayed",
            Outcome::Failed(kind) => kind.code(),
        })
        .collect()
}

/// Counts the deliveries, in whatever state: rows, and those that are still in records.
pub(crate) async fn rows(url: &str) -> i64 {
    let client = client(url).await;
    let open = count(&client, "open_deliveries(0, 9223372036854775807)").await;
    open + count(&client, "delivery").await
}

/// Makes rows of all deliveries in records, as a process does with what cannot wait in its hands.
pub(crate) async fn spread(url: &str) {
    let spread = "SET search_path = nahook;
        INSERT INTO delivery (key, endpoint, due_at, attempts, status)
            SELECT key, endpoint, due_at, 0, 0 FROM open_deliveries(0, 9223372036854775807);
        DELETE FROM record";
    execute(&client(url).await, spread).await;
}

/// Counts the rows of one of the store's tables, of which a `WHERE` may follow.
pub(crate) async fn count(client: &Client, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM nahook.{table}");
    client.query_one(&query, &[]).await.unwrap().get(0)
}

/// Runs statements that have to succeed.
pub(crate) async fn execute(client: &(impl GenericClient + Sync), statements: &str) {
    client.batch_execute(statements).await.unwrap();
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let told: Vec<_> = causes.map(ToString::to_string).collect();
    told.join(": ")
}

/// The database's name in a URL.
pub(crate) fn database(url: &str) -> &str {
    let (_, name) = url.rsplit_once('/').unwrap();
    name.split('?').next().unwrap()
}

/// A role of its own for the database at `url`, with so many connections; answers its URL.
pub(crate) fn limited_role(server: &PostgresServer, url: &str, connections: i32) -> String {
    let name = database(url);
    for statement in [
        format!("CREATE ROLE {name} LOGIN CONNECTION LIMIT {connections}"),
        format!("ALTER DATABASE {name} OWNER TO {name}"),
    ] {
        server.execute("postgres", &statement);
    }
    url.replace("postgres@", &format!("{name}@"))
}

/// The processes of the server that listen to a store of the database.
pub(crate) async fn listeners(observer: &Client) -> Vec<i32> {
    // The latest of its statements: of all connections only such a one says these.
    let query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
        AND (query = 'SELECT 1' OR query LIKE 'NOTIFY%')";
    let rows = observer.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until somebody waits for a lock in the database. Looks from a connection of its own: within a transaction the same
/// activity is shown again and again.
pub(crate) async fn until_locked(url: &str) {
    let waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let observer = client(url).await;
    until("somebody waits for a lock", || async {
        !observer.query(waiting, &[]).await.unwrap().is_empty()
    })
    .await;
}

/// A connection of the test's own.
pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until `condition` holds; not for ever.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
