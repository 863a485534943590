//! Servers in this process, on real back ends.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{ApplyMode, Catalog as _, Manifest};
use nahook_core::id::EndpointId;
use nahook_embed::{QueueUrl, StoreUrl};
use nahook_nats::NatsSettings;
use nahook_server::serve::Server;
use nahook_server::settings::{OperationsListen, Pages, PressureSettings, Role, Settings};
use nahook_server::telemetry::LogWriter;
use nahook_server::tls::TlsFiles;
use nahook_supervision::{Loop, Supervisor};
use nahook_testserver::{NatsServer, PostgresServer};
use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::support::api::Api;
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::receiver::Receiver;

/// A store and a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Composition {
    Memory,
    Sqlite,
    Postgres,
    SqliteNats,
    PostgresNats,
}

/// A server and what it runs on.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) supervisor: Supervisor,
    pub(crate) receiver: Receiver,
    pub(crate) log: LogWriter,
    /// Certificate of a server that speaks TLS.
    pub(crate) certificate: Option<Certificate>,
    _dir: TempDir,
    _nats: Option<Arc<NatsServer>>,
}

impl Composition {
    pub(crate) const ALL: [Self; 5] = [
        Self::Memory,
        Self::Sqlite,
        Self::Postgres,
        Self::SqliteNats,
        Self::PostgresNats,
    ];

    /// Returns true if a server on it runs the loop. The loops of a back end are named after it.
    pub(crate) fn runs(self, which: Loop) -> bool {
        let on_nats = matches!(self, Self::SqliteNats | Self::PostgresNats);
        match which.name().split('_').next() {
            Some("sqlite") => matches!(self, Self::Sqlite | Self::SqliteNats),
            Some("postgres") => matches!(self, Self::Postgres | Self::PostgresNats),
            Some("nats") => on_nats,
            Some("tls") => self.speaks_tls(),
            _ => on_nats || which != Loop::AcceptedRecorder,
        }
    }

    /// Returns true if clients reach it over TLS: one is enough, since no back end has a part in that.
    fn speaks_tls(self) -> bool {
        matches!(self, Self::Memory)
    }

    pub(crate) async fn start(self) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let certificate = self.speaks_tls().then(|| Certificate::make_in(dir.path()));
        let tls = certificate.as_ref().map(Certificate::files);
        let store = match self {
            Self::Memory => StoreUrl::Memory,
            Self::Sqlite | Self::SqliteNats => StoreUrl::default_in(dir.path()),
            Self::Postgres | Self::PostgresNats => {
                let url = PostgresServer::shared().create_database();
                StoreUrl::parse(&url).unwrap()
            }
        };
        let nats = matches!(self, Self::SqliteNats | Self::PostgresNats)
            .then(|| Arc::new(NatsServer::start()));
        let queue = nats.as_ref().map_or(QueueUrl::Store, |nats| {
            QueueUrl::parse(&nats.url()).unwrap()
        });
        let supervisor = Supervisor::new();
        let log = LogWriter::start(std::io::sink(), &supervisor).unwrap();
        let settings = settings(store, queue, tls);
        let server = Server::start(settings, supervisor.clone()).await.unwrap();
        let receiver = Receiver::start().await;
        let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let catalog = &server.backend().catalog;
        catalog.apply(&manifest, ApplyMode::Commit).await.unwrap();
        Running {
            server,
            supervisor,
            receiver,
            log,
            certificate,
            _dir: dir,
            _nats: nats,
        }
    }
}

fn settings(store: StoreUrl, queue: QueueUrl, tls: Option<TlsFiles>) -> Settings {
    let mut nats = NatsSettings::default();
    nats.log = true;
    Settings {
        data_dir: std::path::PathBuf::new(),
        secret_keys: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        operations_listen: OperationsListen::At("127.0.0.1:0".parse().unwrap()),
        tls,
        client_connections: 64,
        trusted_proxies: Vec::new(),
        store,
        queue,
        role: Role::All,
        hold_deliveries: false,
        allow_endpoint_ranges: vec!["127.0.0.0/8".parse().unwrap()],
        allow_endpoint_ports: Vec::new(),
        create_unknown_event_types: false,
        limiter_down: nahook_core::admission::LimiterDown::Admit,
        retention: Duration::from_hours(24),
        pages: Pages::default(),
        portal_url: None,
        log_format: None,
        sample: true,
        pressure: PressureSettings::default(),
        disk_free_min: None,
        postgres: nahook_postgres::PostgresSettings::default(),
        nats,
    }
}

impl Running {
    pub(crate) fn api(&self) -> Api {
        let address = self.server.address();
        match &self.certificate {
            Some(certificate) => Api::secured(address, KEY, certificate.trusting()),
            None => Api::new(address, KEY),
        }
    }

    /// Triggers an event. Returns the delivery that the answer promises, if it promises one; an event that might have been
    /// queued is as good as promised.
    pub(crate) async fn trigger(&self, number: usize) -> Option<String> {
        let payload = format!("{{\"n\":{number}}}");
        let answer = self.api().trigger(EVENT_TYPE, &payload).await;
        if answer.status != 202 {
            // An error means that nothing was queued.
            assert!(answer.status >= 500, "{}", answer.json());
            return None;
        }
        let json = answer.json();
        let id = json["deliveryIds"][0].as_str()?;
        Some(id.to_owned())
    }

    pub(crate) async fn readiness(&self) -> (u16, String) {
        let answer = self.api().get("/readyz").await;
        (answer.status, answer.json().to_string())
    }

    /// Makes every loop that waits for work look around.
    pub(crate) async fn stir(&self, number: usize) -> Option<String> {
        use std::io::Write as _;
        use tracing_subscriber::fmt::MakeWriter as _;
        self.log.make_writer().write_all(b"a line\n").unwrap();
        let id = EndpointId::new("ep_1").unwrap();
        let endpoints = Arc::clone(&self.server.backend().endpoints);
        let _ = nahook_control::EndpointDirectory::targets(&endpoints, &[id]).await;
        self.trigger(number).await
    }
}
