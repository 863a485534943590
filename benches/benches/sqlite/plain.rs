//! The plainest writer: one thread, one transaction for all that wait, the same tables with the same indexes. It checks
//! nothing, answers everybody alike and keeps no lease.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::BATCH;

const TABLES: &str = "
    PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 8000;
    CREATE TABLE event (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, workspace INTEGER, event_type INTEGER,
        accepted_at INTEGER, width INTEGER, payload BLOB);
    CREATE TABLE delivery (key INTEGER PRIMARY KEY, endpoint INTEGER NOT NULL, status INTEGER NOT NULL,
        attempts INTEGER NOT NULL, due_at INTEGER, first_attempt_at INTEGER, delivered_at INTEGER, updated_at INTEGER);
    CREATE INDEX delivery_by_status ON delivery (endpoint, status);
    CREATE TABLE attempt (delivery INTEGER, number INTEGER, started_at INTEGER, duration INTEGER, status_code INTEGER,
        PRIMARY KEY (delivery, number)) WITHOUT ROWID;";

enum Work {
    Publish(usize),
    /// The first of so many deliveries that wait: found, settled, noted.
    Take(usize),
}

type Order = (Work, oneshot::Sender<()>);

pub(crate) struct Plain {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Plain {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let connection = Connection::open(folder.path().join("plain.db")).expect("a file");
        connection.execute_batch(TABLES).expect("tables");
        connection.set_prepared_statement_cache_capacity(64);
        let (orders, inbox) = channel();
        let thread = std::thread::spawn(move || write(&connection, &inbox).expect("written"));
        Self {
            orders: Some(orders),
            thread: Some(thread),
            _folder: folder,
        }
    }

    async fn done(orders: &Sender<Order>, work: Work) {
        let (answer, answered) = oneshot::channel();
        orders.send((work, answer)).expect("the writer");
        answered.await.expect("an answer");
    }

    fn orders(&self) -> Sender<Order> {
        self.orders.clone().expect("the writer")
    }

    pub(crate) async fn publish(&self, width: usize, callers: usize, times: u64) -> Duration {
        let began = Instant::now();
        let mut tasks = Vec::with_capacity(callers);
        for _ in 0..callers {
            let orders = self.orders();
            tasks.push(tokio::spawn(async move {
                for _ in 0..times {
                    Self::done(&orders, Work::Publish(width)).await;
                }
            }));
        }
        for task in tasks {
            task.await.expect("published");
        }
        began.elapsed()
    }

    pub(crate) async fn take(&self, times: u64) -> Duration {
        self.publish(BATCH, 1, times).await;
        let orders = self.orders();
        let began = Instant::now();
        for _ in 0..times {
            Self::done(&orders, Work::Take(BATCH)).await;
        }
        began.elapsed()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been told by those who waited for it.
            let _ = thread.join();
        }
    }
}

fn write(connection: &Connection, inbox: &Receiver<Order>) -> rusqlite::Result<()> {
    let mut number = 0_u64;
    while let Ok(first) = inbox.recv() {
        let mut group = vec![first];
        group.extend(inbox.try_iter().take(255));
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for (work, _) in &group {
            number += 1;
            match work {
                Work::Publish(width) => publish(connection, number, *width)?,
                Work::Take(count) => take(connection, *count)?,
            }
        }
        connection.execute_batch("COMMIT")?;
        for (_, answer) in group {
            // Nobody gives up waiting here.
            let _ = answer.send(());
        }
    }
    Ok(())
}

fn publish(connection: &Connection, number: u64, width: usize) -> rusqlite::Result<()> {
    let id = (u128::from(number) << 24).to_be_bytes();
    let payload = [b'x'; 200];
    connection
        .prepare_cached(
            "INSERT INTO event (id, workspace, event_type, accepted_at, width, payload)
             VALUES (?1, 1, 1, 1700000000000000000, ?2, ?3)",
        )?
        .execute(params![id.as_slice(), number_of(width), payload.as_slice()])?;
    let seq = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached(
        "INSERT INTO delivery (key, endpoint, status, attempts, due_at)
         VALUES (?1, ?2, 0, 0, 1700000000000000000)",
    )?;
    for ordinal in 0..number_of(width) {
        insert.execute(params![(seq << 20) + ordinal, ordinal])?;
    }
    Ok(())
}

fn take(connection: &Connection, count: usize) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE delivery SET due_at = NULL, status = 2, attempts = 1, first_attempt_at = 1700000000000000000,
             delivered_at = 1700000000000000000, updated_at = 1700000000000000000 WHERE key = ?1",
    )?;
    let mut attempt = connection
        .prepare_cached("INSERT INTO attempt VALUES (?1, 1, 1700000000000000000, 20000000, 200)")?;
    // The endpoints take turns.
    let mut oldest = connection.prepare_cached(
        "SELECT key FROM delivery WHERE endpoint = ?1 AND status = 0 ORDER BY key LIMIT 1",
    )?;
    for endpoint in 0..number_of(count) {
        let key: i64 = oldest.query_row([endpoint], |row| row.get(0))?;
        update.execute([key])?;
        attempt.execute([key])?;
    }
    Ok(())
}

fn number_of(count: usize) -> i64 {
    i64::try_from(count).expect("a small number")
}
