//! Raw limits of the parts: each limit is the plainest program that does what the part must do at least.

use std::fs::File;
use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nahook_testserver::{NatsOptions, PostgresServer};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::Failure;
use crate::composition::Composition;
use crate::generator::{GenerateArgs, Load};
use crate::process::Process;

/// Least length of a delivery in a record: its id and its endpoint's.
const DELIVERY_LEN: usize = 47;

/// Events a second that the part took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Limit {
    /// Description of the measurement.
    pub(crate) what: String,
    /// Events a second.
    pub(crate) per_second: f64,
}

/// The limit of what the composition queues on, for events of that width from so many callers.
pub(crate) fn of_queue(
    composition: Composition,
    width: usize,
    payload_len: usize,
    callers: usize,
    sync_always: bool,
) -> Result<Limit, Failure> {
    match composition {
        Composition::Memory => of_http(width, payload_len, callers),
        Composition::Sqlite => log(width, payload_len, callers),
        Composition::Postgres => statements(width, payload_len, callers),
        Composition::SqliteNats | Composition::PostgresNats => {
            publishing(width, payload_len, callers, sync_always)
        }
    }
}

/// Measures how often a second the disk can be synced after an append.
pub(crate) fn syncs_per_second() -> Result<f64, Failure> {
    let folder = TempDir::new()?;
    let mut file = File::create(folder.path().join("log"))?;
    let (block, began, mut count) = ([1; 4096], Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(500) {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// A bare server that parses the same body and answers as many bytes.
pub(crate) fn of_http(width: usize, payload_len: usize, callers: usize) -> Result<Limit, Failure> {
    let folder = TempDir::new()?;
    let answer_len = 110 + width * 33;
    let args = ["bare".to_owned(), format!("--answer-len={answer_len}")];
    let (_server, address) = Process::listening(&args, folder.path())?;
    let load = generate(&GenerateArgs {
        address,
        path: "/api/ingest/event/load.measured".to_owned(),
        key: "none".to_owned(),
        payload_len,
        connections: callers,
        seconds: 1.5,
        warm_up: 0.5,
        rate: None,
        expected: 202,
    })?;
    Ok(Limit {
        what: "bare HTTP server".to_owned(),
        per_second: load.per_second,
    })
}

/// The plainest client against the sink: what deliveries could come to.
pub(crate) fn of_sink(connections: usize) -> Result<Limit, Failure> {
    let folder = TempDir::new()?;
    let (_sink, address) = Process::listening(&["sink".to_owned()], folder.path())?;
    let load = generate(&GenerateArgs {
        address,
        path: "/0".to_owned(),
        key: "none".to_owned(),
        payload_len: 200,
        connections,
        seconds: 1.5,
        warm_up: 0.5,
        rate: None,
        expected: 204,
    })?;
    Ok(Limit {
        what: "plain client to the sink".to_owned(),
        per_second: load.per_second,
    })
}

/// Runs a load in a process of its own.
pub(crate) fn generate(args: &GenerateArgs) -> Result<Load, Failure> {
    let mut line = vec![
        "generate".to_owned(),
        format!("--address={}", args.address),
        format!("--path={}", args.path),
        format!("--key={}", args.key),
        format!("--payload-len={}", args.payload_len),
        format!("--connections={}", args.connections),
        format!("--seconds={}", args.seconds),
        format!("--warm-up={}", args.warm_up),
        format!("--expected={}", args.expected),
    ];
    line.extend(args.rate.map(|rate| format!("--rate={rate}")));
    let printed = Process::start(&line, std::env::temp_dir().as_path())?.finish()?;
    Ok(serde_json::from_str(&printed)?)
}

/// One file: everything that waits is appended, synced once, and everybody is answered.
fn log(width: usize, payload_len: usize, callers: usize) -> Result<Limit, Failure> {
    let folder = TempDir::new()?;
    let mut file = File::create(folder.path().join("log"))?;
    let (sender, receiver) = mpsc::channel::<mpsc::SyncSender<()>>();
    let record = vec![7; payload_len + width * DELIVERY_LEN];
    let writer = thread::spawn(move || -> std::io::Result<()> {
        let mut batch = Vec::new();
        while let Ok(first) = receiver.recv() {
            let mut waiting = vec![first];
            waiting.extend(receiver.try_iter().take(255));
            batch.clear();
            for _ in &waiting {
                batch.extend_from_slice(&record);
            }
            file.write_all(&batch)?;
            file.sync_data()?;
            for caller in waiting {
                // A caller whose time is over does not listen any more.
                let _ = caller.send(());
            }
        }
        Ok(())
    });
    let began = Instant::now();
    let running: Vec<_> = (0..callers)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut count = 0_u32;
                while began.elapsed() < Duration::from_millis(1_500) {
                    let (answer, answered) = mpsc::sync_channel(1);
                    if sender.send(answer).is_err() || answered.recv().is_err() {
                        break;
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    drop(sender);
    let mut count = 0.0;
    for caller in running {
        count += f64::from(caller.join().map_err(|_| "a caller panicked")?);
    }
    let seconds = began.elapsed().as_secs_f64();
    writer.join().map_err(|_| "the writer panicked")??;
    Ok(Limit {
        what: "append and sync, shared by all callers".to_owned(),
        per_second: count / seconds,
    })
}

/// One statement an event, on eight connections.
fn statements(width: usize, payload_len: usize, callers: usize) -> Result<Limit, Failure> {
    const TABLES: &str =
        "CREATE TABLE raw_event (id bigserial PRIMARY KEY, payload bytea NOT NULL);
        CREATE TABLE raw_delivery (event bigint, endpoint bigint, PRIMARY KEY (event, endpoint));";
    const STATEMENT: &str = "WITH e AS (INSERT INTO raw_event (payload) VALUES ($1) RETURNING id)
        INSERT INTO raw_delivery SELECT e.id, n FROM e, unnest($2::bigint[]) AS n";
    let server = PostgresServer::shared();
    let url = server.create_database();
    server.query(&url, TABLES);
    let runtime = tokio::runtime::Runtime::new()?;
    let per_second = runtime.block_on(async {
        let payload = vec![b'x'; payload_len];
        let endpoints: Vec<i64> = (0..i64::try_from(width)?).collect();
        let connections = callers.min(8);
        let began = Instant::now();
        let mut running = JoinSet::new();
        for nth in 0..connections {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            let client = std::sync::Arc::new(client);
            let statement = client.prepare(STATEMENT).await?;
            let of_this = callers / connections + usize::from(nth < callers % connections);
            for _ in 0..of_this {
                let (client, statement) = (std::sync::Arc::clone(&client), statement.clone());
                let (payload, endpoints) = (payload.clone(), endpoints.clone());
                running.spawn(async move {
                    let mut count = 0_u32;
                    while began.elapsed() < Duration::from_secs(2) {
                        client.execute(&statement, &[&payload, &endpoints]).await?;
                        count += 1;
                    }
                    Ok::<_, tokio_postgres::Error>(count)
                });
            }
        }
        let mut count = 0.0;
        while let Some(ended) = running.join_next().await {
            count += f64::from(ended??);
        }
        Ok::<f64, Failure>(count / began.elapsed().as_secs_f64())
    })?;
    Ok(Limit {
        what: "one plain statement an event".to_owned(),
        per_second,
    })
}

/// One message an event that is as long as its record, awaited.
fn publishing(
    width: usize,
    payload_len: usize,
    callers: usize,
    sync_always: bool,
) -> Result<Limit, Failure> {
    let options = NatsOptions::new();
    let server = if sync_always {
        options.sync_always().start()
    } else {
        options.start()
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let per_second = runtime.block_on(async {
        let client = async_nats::connect(server.url()).await?;
        let len_max = client.server_info().max_payload;
        let context = async_nats::jetstream::new(client);
        context
            .create_stream(async_nats::jetstream::stream::Config {
                name: "RAW".to_owned(),
                subjects: vec!["raw".to_owned()],
                ..Default::default()
            })
            .await?;
        let len = (payload_len + width * DELIVERY_LEN).min(len_max);
        let record = bytes::Bytes::from(vec![b'x'; len]);
        let began = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let (context, record) = (context.clone(), record.clone());
            running.spawn(async move {
                let mut count = 0_u32;
                while began.elapsed() < Duration::from_secs(2) {
                    context.publish("raw", record.clone()).await?.await?;
                    count += 1;
                }
                Ok::<_, Failure>(count)
            });
        }
        let mut count = 0.0;
        while let Some(ended) = running.join_next().await {
            count += f64::from(ended??);
        }
        Ok::<f64, Failure>(count / began.elapsed().as_secs_f64())
    })?;
    Ok(Limit {
        what: "one plain publish an event".to_owned(),
        per_second,
    })
}
