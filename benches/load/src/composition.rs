//! The compositions, each started from nothing: back ends, workspace, server, sink.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use nahook_testserver::{NatsOptions, NatsServer, PostgresServer};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::Failure;
use crate::process::{Process, bytes_below, cpu_seconds_of_all, pause};
use crate::sink;

/// The ingestion key of the workspace that is measured.
pub(crate) const KEY: &str =
    "nhk_us_6c6f61646c6f61646c6f61646c6f61646c6f61646c6f61646c6f61646c6f6164";
/// The event type that is triggered.
pub(crate) const EVENT_TYPE: &str = "load.measured";
/// Any signing secret.
const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

/// Back ends of the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Composition {
    /// The core's own adapters; nothing is kept.
    Memory,
    /// One file: `synchronous=FULL`, so a 202 is on disk.
    Sqlite,
    /// Postgres with `fsync` and `synchronous_commit` on.
    Postgres,
    /// State in the file, deliveries on JetStream.
    SqliteNats,
    /// State in Postgres, deliveries on JetStream.
    PostgresNats,
}

impl Composition {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::SqliteNats => "sqlite-nats",
            Self::PostgresNats => "postgres-nats",
        }
    }

    pub(crate) const fn has_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::PostgresNats)
    }

    pub(crate) const fn has_nats(self) -> bool {
        matches!(self, Self::SqliteNats | Self::PostgresNats)
    }
}

/// Processor time of each process, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cpu {
    pub(crate) server: f64,
    pub(crate) database: f64,
    pub(crate) broker: f64,
    pub(crate) sink: f64,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: self.server - before.server,
            database: self.database - before.database,
            broker: self.broker - before.broker,
            sink: self.sink - before.sink,
        }
    }
}

/// A composition that runs. Everything ends when it is dropped.
pub(crate) struct Running {
    pub(crate) server: Process,
    pub(crate) address: String,
    pub(crate) sink_address: String,
    sink: Process,
    postgres: Option<(&'static PostgresServer, String)>,
    nats: Option<NatsServer>,
    folder: TempDir,
}

impl Running {
    /// Starts it with so many subscribed endpoints; `delivering` or keeping what is accepted.
    pub(crate) fn start(
        composition: Composition,
        width: usize,
        sync_always: bool,
        delivering: bool,
    ) -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("nahook-load-")?;
        let (sink, sink_address) = Process::listening(&["sink".to_owned()], folder.path())?;
        let postgres = composition.has_postgres().then(|| {
            let server = PostgresServer::shared();
            (server, server.create_database())
        });
        let nats = composition.has_nats().then(|| start_nats(sync_always));
        let manifest = folder.path().join("manifest.toml");
        fs::write(&manifest, manifest_of(&sink_address, width))?;
        let mut args = vec!["nahook".to_owned()];
        if composition == Composition::Memory {
            args = vec!["memory".to_owned(), path(&manifest)];
            if !delivering {
                args.push("--hold-deliveries".to_owned());
            }
        } else {
            let store = match &postgres {
                Some((_, url)) => url.clone(),
                None => format!("sqlite://{}", path(&folder.path().join("nahook.db"))),
            };
            apply(&manifest, &store, folder.path())?;
            args.extend(server_args(&store, nats.as_ref(), delivering));
        }
        let (server, address) = Process::listening(&args, folder.path())?;
        Ok(Self {
            server,
            address,
            sink_address,
            sink,
            postgres,
            nats,
            folder,
        })
    }

    /// Returns the processor time of its processes so far.
    pub(crate) fn cpu(&self) -> Cpu {
        let of_all = |is_there, name| {
            if is_there {
                cpu_seconds_of_all(name)
            } else {
                0.0
            }
        };
        Cpu {
            server: self.server.cost().cpu_seconds,
            database: of_all(self.postgres.is_some(), "postgres"),
            broker: of_all(self.nats.is_some(), "nats-server"),
            sink: self.sink.cost().cpu_seconds,
        }
    }

    /// Returns the bytes that the queue takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        if let Some(nats) = &self.nats {
            return bytes_below(&nats.store());
        }
        match &self.postgres {
            Some((server, url)) => {
                let size = server.query(url, "SELECT pg_database_size(current_database())");
                size.trim().parse().unwrap_or(0)
            }
            None => bytes_below(self.folder.path()),
        }
    }

    /// Waits until so many have arrived at the sink, or nothing has for a second, at most so long.
    pub(crate) fn settle(&self, arrivals: u64, milliseconds_max: u64) -> Result<(), Failure> {
        let mut before = sink::stats(&self.sink_address)?.arrivals;
        let (mut waited, mut silent) = (0, 0);
        while before < arrivals && waited < milliseconds_max && silent < 1_000 {
            pause(100);
            waited += 100;
            let now = sink::stats(&self.sink_address)?.arrivals;
            silent = if now == before { silent + 100 } else { 0 };
            before = now;
        }
        Ok(())
    }
}

fn start_nats(sync_always: bool) -> NatsServer {
    let options = NatsOptions::new();
    if sync_always {
        options.sync_always().start()
    } else {
        options.start()
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn apply(manifest: &Path, store: &str, folder: &Path) -> Result<(), Failure> {
    let args = ["nahook", "apply", "--store", store];
    let mut args: Vec<_> = args.map(str::to_owned).to_vec();
    args.push(path(manifest));
    Process::start(&args, folder)?.finish()?;
    Ok(())
}

fn server_args(store: &str, nats: Option<&NatsServer>, delivering: bool) -> Vec<String> {
    let mut args = vec![
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        store,
        "--allow-endpoint-range",
        "127.0.0.0/8",
        "--sample",
        "false",
    ];
    if !delivering {
        args.push("--hold-deliveries");
    }
    let url = nats.map(NatsServer::url);
    if let Some(url) = &url {
        args.extend(["--queue", url]);
    }
    args.into_iter().map(str::to_owned).collect()
}

/// A workspace with so many endpoints at the sink, all subscribed, and with a plan that refuses nothing.
pub(crate) fn manifest_of(sink: &str, width: usize) -> String {
    use std::fmt::Write as _;
    let mut manifest = format!(
        "[[workspaces]]\nid = \"ws_load\"\nname = \"Load\"\n\n[workspaces.plan]\npending_max = {pending_max}\n\
         delivery_rate = {{ count = 1000000000 }}\n\n[[workspaces.event_types]]\nname = \"{EVENT_TYPE}\"\n\n\
         [[workspaces.api_keys]]\nname = \"load\"\nkey = \"{KEY}\"\n",
        pending_max = u32::MAX,
    );
    for nth in 0..width {
        // Writing to a string does not fail.
        let _ = write!(
            manifest,
            "\n[[workspaces.endpoints]]\nid = \"ep_{nth}\"\nurl = \"http://{sink}/{nth}\"\nsecret = \"{SECRET}\"\n\
             event_types = [\"{EVENT_TYPE}\"]\n"
        );
    }
    manifest
}

/// Default folder of the report.
pub(crate) fn output_default() -> PathBuf {
    PathBuf::from("target/load")
}
