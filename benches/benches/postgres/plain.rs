//! The same by hand, as plainly as it goes. It keeps what ours keeps of an event and its deliveries and finds what is due by an
//! index; ids are those that the API shows, and as uuid where that is what they are. What ours alone does: it looks whether each
//! endpoint is still there, keeps attempts, tells workers, lists, and lets no endpoint keep the others waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use crate::uuid::Uuid;
use crate::{BATCH, CROWD, WIDTHS};

/// More connections slow a server on two cores down.
const CONNECTIONS: usize = 8;
/// As the adapter's.
const WRITERS: usize = 2;
const JOBS_MAX: usize = 128;

const TABLES: &str = "
CREATE SCHEMA plain;
CREATE TABLE plain.event (
    id uuid PRIMARY KEY, workspace text NOT NULL, event_type text NOT NULL, accepted_at bigint NOT NULL, metadata text,
    payload bytea NOT NULL);
CREATE TABLE plain.delivery (
    event uuid NOT NULL, ordinal integer NOT NULL, endpoint text NOT NULL, status smallint NOT NULL,
    attempts integer NOT NULL, due_at bigint, PRIMARY KEY (event, ordinal));
CREATE INDEX ON plain.delivery (due_at) WHERE due_at IS NOT NULL";

const LOOK_UP: &str = "
SELECT e.id FROM nahook.event_type t
JOIN nahook.subscription s ON s.event_type = t.row JOIN nahook.endpoint e ON e.row = s.endpoint
WHERE t.name = $1 AND t.workspace = 1 AND t.deleted_at IS NULL AND e.is_active ORDER BY s.row";

const PUBLISH: &str = "
WITH e AS (INSERT INTO plain.event VALUES ($1, $2, $3, $4, NULL, $5))
INSERT INTO plain.delivery
SELECT $1, u.n, u.endpoint, 0, 0, $4 FROM unnest($6::text[]) WITH ORDINALITY AS u (endpoint, n)";

const PUBLISH_TOGETHER: &str = "
WITH e AS (
    INSERT INTO plain.event
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[]))
INSERT INTO plain.delivery
SELECT u.event, u.ordinal, u.endpoint, 0, 0, u.due_at
FROM unnest($7::uuid[], $8::integer[], $9::text[], $10::bigint[]) AS u (event, ordinal, endpoint, due_at)";

const CLAIM: &str = "
UPDATE plain.delivery SET due_at = $1 WHERE (event, ordinal) IN (
    SELECT event, ordinal FROM plain.delivery WHERE due_at < $2 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING event, ordinal, endpoint";

const DELETE: &str = "
DELETE FROM plain.delivery d USING unnest($1::uuid[], $2::integer[]) AS u (event, ordinal)
WHERE d.event = u.event AND d.ordinal = u.ordinal";

const WORKSPACE: &str = "ws_00000000000000000000000001";
const EVENT_TYPE: &str = "evt_00000000000000000000000001";

pub(crate) struct Plain {
    connections: Vec<Arc<Connection>>,
    endpoints: Arc<Vec<String>>,
    payload: Arc<Vec<u8>>,
    numbers: Arc<AtomicI64>,
    shared: mpsc::Sender<Job>,
}

struct Connection {
    client: Client,
    look_up: Statement,
    publish: Statement,
    publish_together: Statement,
    claim: Statement,
    delete: Statement,
    /// Held while a statement runs.
    turn: Mutex<()>,
}

struct Job {
    id: i64,
    width: usize,
    done: oneshot::Sender<()>,
}

impl Connection {
    async fn new(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
        tokio::spawn(connection);
        let prepare = async |statement| client.prepare(statement).await.expect("a statement");
        Self {
            look_up: prepare(LOOK_UP).await,
            publish: prepare(PUBLISH).await,
            publish_together: prepare(PUBLISH_TOGETHER).await,
            claim: prepare(CLAIM).await,
            delete: prepare(DELETE).await,
            client,
            turn: Mutex::default(),
        }
    }

    async fn run(&self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) {
        self.client
            .execute(statement, parameters)
            .await
            .expect("written");
    }
}

impl Plain {
    pub(crate) async fn new(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
        tokio::spawn(connection);
        client.batch_execute(TABLES).await.expect("tables");
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Arc::new(Connection::new(url).await));
        }
        let endpoints = (0..WIDTHS[3]).map(|n| format!("ep_{n:026}")).collect();
        let (shared, jobs) = mpsc::channel(CROWD);
        let jobs = Arc::new(Mutex::new(jobs));
        let plain = Self {
            connections,
            endpoints: Arc::new(endpoints),
            payload: Arc::new(nahook_benches::object(200)),
            numbers: Arc::default(),
            shared,
        };
        for connection in plain.connections.iter().take(WRITERS) {
            let (endpoints, payload) = (Arc::clone(&plain.endpoints), Arc::clone(&plain.payload));
            tokio::spawn(write(
                Arc::clone(connection),
                Arc::clone(&jobs),
                endpoints,
                payload,
            ));
        }
        plain
    }

    pub(crate) async fn look_up(&self, width: usize, times: u64) -> Duration {
        let connection = &self.connections[0];
        let name = format!("order.to{width}");
        let began = Instant::now();
        for _ in 0..times {
            let rows = connection.client.query(&connection.look_up, &[&name]).await;
            let found: Vec<String> = rows.expect("rows").iter().map(|row| row.get(0)).collect();
            assert_eq!(found.len(), width);
        }
        began.elapsed()
    }

    pub(crate) async fn publish(&self, width: usize, callers: usize, times: u64) -> Duration {
        let began = Instant::now();
        let mut tasks = Vec::with_capacity(callers);
        for caller in 0..callers {
            let connection = Arc::clone(&self.connections[caller % CONNECTIONS]);
            let (endpoints, payload) = (Arc::clone(&self.endpoints), Arc::clone(&self.payload));
            let numbers = Arc::clone(&self.numbers);
            tasks.push(tokio::spawn(async move {
                for _ in 0..times {
                    let id = numbers.fetch_add(1, Ordering::Relaxed);
                    let _turn = connection.turn.lock().await;
                    let parameters: [&(dyn ToSql + Sync); 6] = [
                        &Uuid::of(id),
                        &WORKSPACE,
                        &EVENT_TYPE,
                        &id,
                        &*payload,
                        &&endpoints[..width],
                    ];
                    connection.run(&connection.publish, &parameters).await;
                }
            }));
        }
        for task in tasks {
            task.await.expect("published");
        }
        began.elapsed()
    }

    /// A crowd whose statements are shared.
    pub(crate) async fn publish_together(&self, width: usize, times: u64) -> Duration {
        let began = Instant::now();
        let mut tasks = Vec::with_capacity(CROWD);
        for _ in 0..CROWD {
            let (shared, numbers) = (self.shared.clone(), Arc::clone(&self.numbers));
            tasks.push(tokio::spawn(async move {
                for _ in 0..times {
                    let id = numbers.fetch_add(1, Ordering::Relaxed);
                    let (done, answer) = oneshot::channel();
                    let job = Job { id, width, done };
                    assert!(shared.send(job).await.is_ok(), "a writer");
                    answer.await.expect("published");
                }
            }));
        }
        for task in tasks {
            task.await.expect("published");
        }
        began.elapsed()
    }

    pub(crate) async fn take(&self, settles: bool, times: u64) -> Duration {
        let connection = &self.connections[0];
        let first = self.numbers.fetch_add(1_000_000, Ordering::Relaxed);
        let fill = format!(
            "TRUNCATE plain.delivery;
            INSERT INTO plain.delivery
                SELECT lpad(to_hex({first} + n), 32, '0')::uuid, o, 'ep_' || lpad(o::text, 26, '0'), 0, 0, n
                FROM generate_series(1::bigint, {}) n, generate_series(1, {}) o;
            ANALYZE plain.delivery",
            times.div_ceil(10) + 1,
            WIDTHS[3],
        );
        connection
            .client
            .batch_execute(&fill)
            .await
            .expect("a full queue");
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let began = Instant::now();
            let batch = i64::try_from(BATCH).expect("a number");
            let parameters: [&(dyn ToSql + Sync); 3] = [&i64::MAX, &i64::MAX, &batch];
            let rows = connection
                .client
                .query(&connection.claim, &parameters)
                .await
                .expect("rows");
            let claimed = began.elapsed();
            assert_eq!(rows.len(), BATCH);
            let events: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            let ordinals: Vec<i32> = rows.iter().map(|row| row.get(1)).collect();
            let began = Instant::now();
            connection
                .run(&connection.delete, &[&events, &ordinals])
                .await;
            took += claimed
                + if settles {
                    began.elapsed()
                } else {
                    Duration::ZERO
                };
        }
        took
    }
}

/// Writes whatever waits by one statement.
async fn write(
    connection: Arc<Connection>,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    endpoints: Arc<Vec<String>>,
    payload: Arc<Vec<u8>>,
) {
    loop {
        let mut group = Vec::new();
        if jobs.lock().await.recv_many(&mut group, JOBS_MAX).await == 0 {
            return;
        }
        let accepted: Vec<_> = group.iter().map(|job| job.id).collect();
        let ids: Vec<_> = accepted.iter().map(|id| Uuid::of(*id)).collect();
        let workspaces = vec![WORKSPACE; group.len()];
        let event_types = vec![EVENT_TYPE; group.len()];
        let labels = vec![None::<&str>; group.len()];
        let payloads = vec![payload.as_slice(); group.len()];
        let deliveries = group.iter().map(|job| job.width).sum();
        let mut events = Vec::with_capacity(deliveries);
        let mut ordinals = Vec::with_capacity(deliveries);
        let mut texts = Vec::with_capacity(deliveries);
        let mut due = Vec::with_capacity(deliveries);
        for job in &group {
            for (ordinal, endpoint) in (0i32..).zip(&endpoints[..job.width]) {
                events.push(Uuid::of(job.id));
                ordinals.push(ordinal);
                texts.push(endpoint);
                due.push(job.id);
            }
        }
        let _turn = connection.turn.lock().await;
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &ids,
            &workspaces,
            &event_types,
            &accepted,
            &labels,
            &payloads,
            &events,
            &ordinals,
            &texts,
            &due,
        ];
        connection
            .run(&connection.publish_together, &parameters)
            .await;
        for job in group {
            let _ = job.done.send(());
        }
    }
}
