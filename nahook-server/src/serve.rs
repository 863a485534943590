//! `nahook serve`: the composition of all parts, and their start and stop.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use nahook_control::{Catalog as _, EndpointDirectory as _, SecretText};
use nahook_core::Causes;
use nahook_core::id::EndpointId;
use nahook_delivery::{AddressPolicy, HttpTransport, TransportSettings, tls};
use nahook_embed::{Backend, BackendSettings, StoreUrl, connections_max};
use nahook_http::{Operations, Pressure};
use nahook_receive::Verifier;
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ServerError;
use crate::background::Background;
use crate::first_start::{self, FirstStart, SAMPLE_ENDPOINTS, off_the_runtime};
use crate::inbox::{Arrival, Inbox};
use crate::listeners::Listeners;
use crate::settings::{Settings, SettingsArgs};
use crate::signals::Signals;
use crate::stop::stopped_by;
use crate::{output, pages, pressure, readiness, telemetry};

/// Upper bound on a stop, after which the process ends all the same: the worker's own bounds and then some.
const STOP_TIMEOUT: Duration = Duration::from_secs(28);
/// Time after that for the delivery log of a queue outside the store.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// Time after that for closing the store.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Upper bound on writing the rest of the log at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A running server. Dropping it without [`stop`](Self::stop) leaves its tasks to the runtime.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    base_url: String,
    /// URL of the dashboard, if it is served.
    dashboard: Option<String>,
    backend: Backend,
    first_start: Option<FirstStart>,
    has_inbox: bool,
    stop: watch::Sender<bool>,
    front: JoinHandle<()>,
    worker: JoinHandle<()>,
    log: JoinHandle<()>,
    /// After the worker, whose last words are to be recorded.
    stop_log: watch::Sender<bool>,
    /// Threads that run the workers.
    _background: Background,
}

impl Server {
    /// Opens the store, prepares it if this is the first start, and serves.
    ///
    /// # Errors
    /// Says what could not be opened or listened on; nothing is left running then.
    pub async fn start(settings: Settings, supervisor: Supervisor) -> Result<Self, ServerError> {
        let metrics = telemetry::install_metrics();
        let listeners = Listeners::open(&settings).await?;
        let (address, base_url) = (listeners.address, listeners.base_url.clone());
        // Reading and checking the system's certificates takes as long as opening the store.
        let connections_max = connections_max();
        let transport_settings = TransportSettings {
            connections_max,
            supervisor: supervisor.clone(),
            ..TransportSettings::default()
        };
        let tls = tokio::task::spawn_blocking(|| tls::client_config(&[]));
        let mut chosen = BackendSettings::default();
        chosen.retention = settings.retention;
        chosen.disk_free_min = settings.disk_free_min;
        chosen.supervisor = supervisor.clone();
        chosen.secret_keys.clone_from(&settings.secret_keys);
        chosen.postgres = settings.postgres.clone();
        chosen.nats = settings.nats.clone();
        chosen.nats.publishes = settings.role.ingests();
        chosen.nats.delivers = settings.role.delivers();
        let opening = Backend::open_server(&settings.store, &settings.queue, &chosen);
        // On the heap: this is by far the largest part of a start.
        let backend = Box::pin(opening).await?;
        if !backend.seals_secrets() {
            tracing::warn!(
                "secrets of endpoints are kept as plain text: give --secret-key-file, so that a copy of the store does not give them away"
            );
        }
        // What a first start shows is for whoever can use it.
        let (first_start, inbox) = if settings.role.ingests() {
            prepare(&backend, &settings).await?
        } else {
            (None, None)
        };
        let (stop, _) = watch::channel(false);

        let mut policy = AddressPolicy::new();
        for range in &settings.allow_endpoint_ranges {
            policy = policy.allow_range(*range);
        }
        for port in &settings.allow_endpoint_ports {
            policy = policy.allow_port(*port);
        }
        let has_inbox = inbox.is_some();
        if let Some(inbox) = inbox {
            policy = policy.allow_socket(inbox.address()?);
            serve_samples(inbox, &supervisor, &stop);
        }
        let tls = tls
            .await
            .map_err(|error| ServerError::Transport(error.into()))?
            .map_err(|error| ServerError::Transport(error.into()))?;
        let transport = HttpTransport::with_tls(policy, &transport_settings, tls);
        let delivers = settings.role.delivers() && !settings.hold_deliveries;
        if settings.hold_deliveries {
            tracing::warn!(
                "deliveries are held: what is accepted waits for a start without --hold-deliveries"
            );
        }
        let background = Background::start()?;
        let worker = if delivers {
            let runtime = background.handle().cloned();
            let runtime = runtime.unwrap_or_else(Handle::current);
            let transport = Arc::new(transport);
            backend.deliver(&transport, connections_max, &supervisor, &runtime, &stop)
        } else {
            tokio::spawn(std::future::ready(()))
        };

        let (stop_log, _) = watch::channel(false);
        let (logged, log_stop) = (backend.clone(), stop_log.subscribe());
        let (keeps_log, of_log) = (settings.role.delivers(), supervisor.clone());
        let log = tokio::spawn(async move { logged.keep_log(keeps_log, &of_log, log_stop).await });

        let pressure = pressure::signal(&backend);
        pressure::watch(&backend, &settings.pressure, &pressure, &supervisor, &stop);
        let operations = operations(&backend, &supervisor, &pressure);
        let browsed = settings.pages.base(address, settings.tls.is_some());
        let router = router(&settings, &browsed, &backend, &pressure, operations.clone());
        let operations = match metrics.clone() {
            Some(metrics) => operations.with_metrics(move || metrics.render()),
            None => operations,
        };
        let front = listeners.serve(router, operations, &settings, &supervisor, &stop);
        if let Some(metrics) = metrics {
            telemetry::keep_up(&metrics, &supervisor, &stop);
        }
        let has_pages = settings.role.ingests() && !settings.pages.is_off;
        Ok(Self {
            address,
            base_url,
            dashboard: has_pages.then(|| format!("{browsed}/dashboard")),
            backend,
            first_start,
            has_inbox,
            stop,
            front,
            worker,
            log,
            stop_log,
            _background: background,
        })
    }

    /// Address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The back end it runs on.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Stops: takes no more requests, answers those that are there, finishes or releases what is being delivered, closes
    /// the store. Takes 35 seconds at most.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let ended = async { (self.front.await, self.worker.await) };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!(
                "not everything ended in time; what was in flight is sent again at the next start"
            );
        }
        self.stop_log.send_replace(true);
        if tokio::time::timeout(LOG_TIMEOUT, self.log).await.is_err() {
            tracing::warn!("the delivery log is behind; the next start goes on with it");
        }
        // In a task of its own, which is left behind if the disk stalls: dropping a store waits for the thread that writes.
        let closing = tokio::spawn(self.backend.close());
        match tokio::time::timeout(CLOSE_TIMEOUT, closing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::error!(error = %Causes(&error), "the store did not close cleanly");
            }
            Ok(Err(error)) => tracing::error!(%error, "the store did not close cleanly"),
            Err(_) => tracing::error!("the store did not close in time"),
        }
    }
}

/// Receives the sample endpoints' webhooks, until `stop` says so.
fn serve_samples(inbox: Inbox, supervisor: &Supervisor, stop: &watch::Sender<bool>) {
    let (inbox, stop) = (Arc::new(inbox), stop.subscribe());
    supervisor.spawn(Loop::SampleInbox, move || {
        let (inbox, stop) = (Arc::clone(&inbox), stopped_by(stop.clone()));
        async move {
            match inbox.serve(stop).await {
                Ok(()) => Exit::Stopped,
                Err(error) => Exit::failed(error.to_string()),
            }
        }
    });
}

/// The routes of the settings' role; browsers reach them by the URL `browsed`.
fn router(
    settings: &Settings,
    browsed: &str,
    backend: &Backend,
    pressure: &Pressure,
    operations: Operations,
) -> Router {
    let mut routes = nahook_http::operations_router(operations.clone());
    if settings.role.ingests() && !settings.pages.is_off {
        routes = routes.merge(pages::router(settings, browsed, backend, operations));
    }
    if settings.role.ingests() {
        let creates = settings.create_unknown_event_types;
        let ingestion = backend.ingestion(creates, settings.limiter_down);
        let ingestion = ingestion.with_pressure(pressure.clone());
        let management = backend.management_api(pages::management(settings, browsed));
        let management = management.with_pressure(pressure.clone());
        routes = nahook_http::ingestion_router(ingestion)
            .merge(nahook_http::management_router(management))
            .merge(nahook_http::openapi_router())
            .merge(routes);
    }
    nahook_http::with_fallbacks(routes)
}

fn operations(backend: &Backend, supervisor: &Supervisor, pressure: &Pressure) -> Operations {
    let probes = readiness::probes(backend, supervisor, pressure).into_iter();
    probes.fold(Operations::new(), Operations::with_probe)
}

/// Makes the first start's rows if the store is empty, and the inbox if the sample endpoints are there.
async fn prepare(
    backend: &Backend,
    settings: &Settings,
) -> Result<(Option<FirstStart>, Option<Inbox>), ServerError> {
    let is_empty = backend.catalog.workspaces().await?.is_empty();
    let file = inbox_file(&settings.store);
    let address = match (is_empty, &file) {
        _ if !settings.sample => None,
        (true, _) => Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        (false, Some(file)) => read_inbox_address(file),
        (false, None) => None,
    };
    let inbox = match address {
        Some(address) => bind_inbox(address).await,
        None => None,
    };
    let address = inbox.as_ref().map(Inbox::address).transpose()?;
    if let (true, Some(file), Some(address)) = (is_empty, &file, address)
        && let Err(error) = std::fs::write(file, address.to_string())
    {
        tracing::warn!(%error, "the sample endpoints receive nothing after another start");
    }
    let first_start = first_start::prepare(backend, address).await?;
    if let Some(inbox) = &inbox {
        for (path, secret) in sample_secrets(backend).await? {
            match Verifier::new([secret.expose()]) {
                Ok(verifier) => inbox.verify(path, verifier),
                Err(error) => tracing::warn!(%error, "a sample endpoint's secret is not usable"),
            }
        }
    }
    Ok((first_start, inbox))
}

async fn bind_inbox(address: SocketAddr) -> Option<Inbox> {
    let bound = Inbox::bind(address, None, Box::new(log_arrival)).await;
    bound
        .inspect_err(|error| tracing::warn!(%error, "the sample endpoints' port is taken: they receive nothing"))
        .ok()
}

/// Returns the file that keeps the inbox's address beside the store. The sample endpoints cannot: their URLs are a tenant's to
/// change, and the inbox's address is open to deliveries though it is private.
fn inbox_file(store: &StoreUrl) -> Option<PathBuf> {
    let StoreUrl::Sqlite(path) = store else {
        return None;
    };
    let mut file = path.clone().into_os_string();
    file.push("-sample-inbox");
    Some(file.into())
}

/// Returns the inbox's address at an earlier start, if one had sample endpoints.
fn read_inbox_address(file: &Path) -> Option<SocketAddr> {
    let address: SocketAddr = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

async fn sample_secrets(backend: &Backend) -> Result<Vec<(String, SecretText)>, ServerError> {
    let targets = sample_targets(backend).await?;
    let path_and_secret = |(url, secret): (url::Url, _)| (url.path().to_owned(), secret);
    Ok(targets.into_iter().map(path_and_secret).collect())
}

async fn sample_targets(backend: &Backend) -> Result<Vec<(url::Url, SecretText)>, ServerError> {
    let ids: Vec<_> = SAMPLE_ENDPOINTS
        .iter()
        .filter_map(|id| EndpointId::new(id).ok())
        .collect();
    let mut found = Vec::new();
    for target in backend.endpoints.targets(&ids).await?.into_iter().flatten() {
        if let (Ok(url), Some(secret)) = (target.url.parse(), target.secrets.first()) {
            found.push((url, secret.clone()));
        }
    }
    Ok(found)
}

/// Tells of a webhook that arrived at the sample inbox, which is the one place where a payload is shown.
fn log_arrival(arrival: &Arrival) -> StatusCode {
    let signature = arrival.signature.to_string();
    let body = String::from_utf8_lossy(&arrival.body);
    tracing::info!(path = arrival.path, signature, %body, "sample endpoint received a webhook");
    StatusCode::NO_CONTENT
}

/// Prints where the server listens, and what a first start has to show.
async fn announce(
    base_url: String,
    dashboard: Option<String>,
    backend: Backend,
    first_start: Option<FirstStart>,
    has_sample: bool,
    credentials: Option<PathBuf>,
) {
    let listening = match &dashboard {
        Some(url) => format!("listening on {base_url}\ndashboard at {url}\n"),
        None => format!("listening on {base_url}\n"),
    };
    if let Err(error) = off_the_runtime(move || output::print(&listening)).await {
        tracing::warn!(error = error.report(), "standard output cannot be written");
    }
    let Some(first_start) = first_start else {
        return;
    };
    if let Err(error) = first_start
        .show(
            &backend,
            &base_url,
            dashboard.as_deref(),
            has_sample,
            credentials,
        )
        .await
    {
        tracing::error!(
            error = error.report(),
            "there is no key yet: start again with a standard output and a data directory that work, or use `nahook keys create`"
        );
    }
}

/// Serves until a signal. A second signal ends the process at once.
pub async fn run(args: SettingsArgs) -> Result<ExitCode, ServerError> {
    let settings = args.resolve()?;
    let supervisor = Supervisor::new();
    let log = telemetry::install_logs(settings.log_format, &supervisor)?;
    let ended = Box::pin(serve(settings, supervisor)).await;
    log.flush(FLUSH_TIMEOUT);
    ended
}

async fn serve(settings: Settings, supervisor: Supervisor) -> Result<ExitCode, ServerError> {
    let mut signals = Signals::catch()?;
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let credentials = (!io::stdout().is_terminal()).then(|| settings.credentials_file());
    let credentials = credentials.flatten();
    let server = tokio::select! {
        server = Server::start(settings, supervisor) => server?,
        () = signals.stop() => return Ok(ExitCode::SUCCESS),
    };
    tokio::spawn(announce(
        server.base_url.clone(),
        server.dashboard.clone(),
        server.backend.clone(),
        server.first_start.clone(),
        server.has_inbox,
        credentials,
    ));
    signals.stop().await;
    tracing::info!("stopping");
    // In a task, so that a second signal does not wait for what drops with it.
    let stopping = tokio::spawn(server.stop());
    tokio::select! {
        _ = stopping => Ok(ExitCode::SUCCESS),
        () = signals.stop() => Ok(ExitCode::FAILURE),
    }
}
