//! The server's settings: a flag goes before the environment, the environment before the file, the file before the
//! default.

mod nats;
mod pages;
mod postgres;
mod pressure;
mod role;
mod secret_key;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use nahook_control::MasterKeys;
use nahook_core::admission::LimiterDown;
use nahook_nats::NatsSettings;
use nahook_postgres::PostgresSettings;
use serde::Deserialize;

pub use self::nats::{NatsArgs, StorageChoice};
pub use self::pages::Pages;
pub use self::postgres::PostgresArgs;
pub use self::pressure::{PressureArgs, PressureSettings};
pub use self::role::Role;
use self::secret_key::secret_keys;
pub use self::tls::TlsArgs;
use crate::tls::TlsFiles;
use crate::{ServerError, text_file};
use nahook_embed::{QueueUrl, StoreUrl};

/// The settings as given by flag or environment, or by a file; each may be absent.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsArgs {
    /// A TOML file with any of these settings, named as the flags are, with underscores.
    #[arg(long, env = "NAHOOK_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1:3001].
    #[arg(long, env = "NAHOOK_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The address for health, readiness and metrics, or `off`. It needs no key: keep it inside [default: 127.0.0.1:3003, if it is
    /// free].
    #[arg(long, env = "NAHOOK_OPERATIONS_LISTEN", value_name = "ADDRESS")]
    pub operations_listen: Option<String>,
    /// Settings of TLS.
    #[command(flatten)]
    #[serde(default)]
    pub tls: TlsArgs,
    /// Upper bound on open connections of clients; a third of the limit of open files may lower it [default: 4096].
    #[arg(long, env = "NAHOOK_CLIENT_CONNECTIONS", value_name = "NUMBER")]
    pub client_connections: Option<usize>,
    /// Addresses of reverse proxies that are believed about their client's address, comma-separated, such as 10.0.0.0/8.
    #[arg(
        long = "trusted-proxy",
        env = "NAHOOK_TRUSTED_PROXIES",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub trusted_proxies: Option<Vec<String>>,
    /// Directory of the embedded store [default: ./nahook-data].
    #[arg(long, env = "NAHOOK_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The store: `sqlite://PATH`, `postgres://…`, or `memory://` to keep nothing [default: a file in the data directory].
    #[arg(long, env = "NAHOOK_STORE", value_name = "URL", hide_env_values = true)]
    pub store: Option<String>,
    /// A file with the keys that the secrets in the store are sealed with: 32 random bytes in base64 each, a line each. The
    /// first seals, the others open what they have sealed. Without any, secrets are kept as they are.
    #[arg(long, env = "NAHOOK_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// The keys themselves instead of a file, separated by commas.
    #[arg(
        long,
        env = "NAHOOK_SECRET_KEY",
        value_name = "KEYS",
        hide_env_values = true
    )]
    pub secret_key: Option<String>,
    /// The queue: `store`, or `nats://…` for JetStream, several servers separated by commas [default: the store].
    #[arg(long, env = "NAHOOK_QUEUE", value_name = "URL", hide_env_values = true)]
    pub queue: Option<String>,
    /// Part of the work that this process takes, where several share a Postgres store [default: all].
    #[arg(long, env = "NAHOOK_ROLE", value_name = "ROLE")]
    pub role: Option<Role>,
    /// Accept and queue, but deliver nothing until a start without this, as while a receiver is moved [default: false].
    #[arg(long, env = "NAHOOK_HOLD_DELIVERIES", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub hold_deliveries: Option<bool>,
    /// Address ranges that deliveries may go to although they are private, comma-separated, such as 10.0.0.0/8.
    #[arg(
        long = "allow-endpoint-range",
        env = "NAHOOK_ALLOW_ENDPOINT_RANGES",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub allow_endpoint_ranges: Option<Vec<String>>,
    /// Ports of endpoints that deliveries may go to, comma-separated, such as 80,443 [default: all].
    #[arg(
        long = "allow-endpoint-port",
        env = "NAHOOK_ALLOW_ENDPOINT_PORTS",
        value_name = "PORT",
        value_delimiter = ','
    )]
    pub allow_endpoint_ports: Option<Vec<u16>>,
    /// Create event types that do not exist when they are triggered, instead of answering 404 [default: false].
    #[arg(long, env = "NAHOOK_CREATE_UNKNOWN_EVENT_TYPES", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub create_unknown_event_types: Option<bool>,
    /// Answer to a trigger when the rate limiter does not answer [default: admit].
    #[arg(long, env = "NAHOOK_LIMITER_DOWN", value_name = "CHOICE")]
    pub limiter_down: Option<LimiterDownChoice>,
    /// Days that the delivery log is kept after an event was accepted, 1 to 365; what is not settled is kept until it is
    /// [default: 7].
    #[arg(long, env = "NAHOOK_RETENTION_DAYS", value_name = "DAYS")]
    pub retention_days: Option<u32>,
    /// URL of the portal's pages, with which the URL of a portal session begins [default: /portal below the public URL].
    #[arg(long, env = "NAHOOK_PORTAL_URL", value_name = "URL")]
    pub portal_url: Option<String>,
    /// Format of the log [default: human on a terminal, else json].
    #[arg(long, env = "NAHOOK_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Make sample endpoints that print what arrives, on a first start on an empty store [default: true].
    #[arg(long, env = "NAHOOK_SAMPLE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub sample: Option<bool>,
    /// URL that browsers reach this server by, as behind a proxy, such as `https://hooks.example.com`. With https, cookies are sent by
    /// https alone [default: the address that is listened on].
    #[arg(long, env = "NAHOOK_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Serve the dashboard and the portal [default: true].
    #[arg(long, env = "NAHOOK_DASHBOARD", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub dashboard: Option<bool>,
    /// Name at the top of the portal [default: nahook].
    #[arg(long, env = "NAHOOK_PORTAL_NAME", value_name = "TEXT")]
    pub portal_name: Option<String>,
    /// One to three characters before that name.
    #[arg(long, env = "NAHOOK_PORTAL_LOGO", value_name = "TEXT")]
    pub portal_logo: Option<String>,
    /// Colour of the portal, such as #2f6feb.
    #[arg(long, env = "NAHOOK_PORTAL_ACCENT", value_name = "COLOUR")]
    pub portal_accent: Option<String>,
    /// Origins whose pages may frame the portal, comma-separated, such as `https://app.example.com`. It takes a public URL with https.
    #[arg(
        long,
        env = "NAHOOK_PORTAL_FRAME_ANCESTORS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub portal_frame_ancestors: Option<Vec<String>>,
    /// The settings of back-pressure.
    #[command(flatten)]
    #[serde(default)]
    pub pressure: PressureArgs,
    /// The settings of a store on Postgres.
    #[command(flatten)]
    #[serde(default)]
    pub postgres: PostgresArgs,
    /// Settings of a queue on NATS.
    #[command(flatten)]
    #[serde(default)]
    pub nats: NatsArgs,
}

/// Answer to a trigger when the rate limiter does not answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LimiterDownChoice {
    /// Let it in, and count it.
    Admit,
    /// Refuse it.
    Refuse,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The address for health, readiness and metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OperationsListen {
    /// [`DEFAULT`](Self::DEFAULT), unless something else is there.
    IfFree,
    /// This one.
    At(SocketAddr),
    /// None.
    Off,
}

impl OperationsListen {
    /// The default address.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3003);
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address for health, readiness and metrics.
    pub operations_listen: OperationsListen,
    /// Certificate and key; plain HTTP if absent.
    pub tls: Option<TlsFiles>,
    /// Upper bound on open connections of clients.
    pub client_connections: usize,
    /// Reverse proxies that are believed about their client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// The store.
    pub store: StoreUrl,
    /// Directory of the embedded store, if the store has no place of its own.
    pub data_dir: PathBuf,
    /// The operator's keys for the secrets in the store.
    pub secret_keys: Option<MasterKeys>,
    /// The queue.
    pub queue: QueueUrl,
    /// Which part of the work this process takes.
    pub role: Role,
    /// True if deliveries stay in the queue for now.
    pub hold_deliveries: bool,
    /// Private ranges that deliveries may go to.
    pub allow_endpoint_ranges: Vec<IpNet>,
    /// Ports that deliveries may go to; all if empty.
    pub allow_endpoint_ports: Vec<u16>,
    /// True if unknown event types are created when triggered.
    pub create_unknown_event_types: bool,
    /// Answer to a trigger when the rate limiter does not answer.
    pub limiter_down: LimiterDown,
    /// Time for which settled deliveries are kept after their event was accepted.
    pub retention: Duration,
    /// URL of the portal's pages; `/portal` below the public URL if absent.
    pub portal_url: Option<String>,
    /// Format of log lines; by the kind of the output if absent.
    pub log_format: Option<LogFormat>,
    /// True if a first start makes sample endpoints.
    pub sample: bool,
    /// Marks above which ingestion is held back.
    pub pressure: PressureSettings,
    /// Bytes of the disk of a store in a file that have to be free for new events; the store's own choice if absent.
    pub disk_free_min: Option<u64>,
    /// Settings of a store on Postgres.
    pub postgres: PostgresSettings,
    /// Settings of a queue on NATS.
    pub nats: NatsSettings,
    /// Settings of the dashboard and the portal.
    pub pages: Pages,
}

/// Fills what is absent of the arguments from those of a file.
macro_rules! or {
    ($given:ident, $file:ident: $($field:ident),+ $(,)?) => {
        Self { $($field: $given.$field.or($file.$field)),+ }
    };
}
use or;

impl SettingsArgs {
    /// Fills what is absent from the file.
    fn or(self, file: Self) -> Self {
        or!(self, file: config, listen, operations_listen, tls, client_connections, trusted_proxies, data_dir, store, secret_key_file, secret_key, queue, role, hold_deliveries, allow_endpoint_ranges, allow_endpoint_ports, create_unknown_event_types, limiter_down, retention_days, portal_url, log_format, sample, public_url, dashboard, portal_name, portal_logo, portal_accent, portal_frame_ancestors, pressure, postgres, nats)
    }

    /// Fills what is absent from the file and the defaults, and checks everything.
    ///
    /// # Errors
    /// Names the setting or the file that cannot be used.
    pub fn resolve(self) -> Result<Settings, ServerError> {
        let given = match self.config.as_deref() {
            Some(path) => {
                let file = text_file::read_settings(path)?;
                self.or(file)
            }
            None => self,
        };
        let pages = Pages::of(&given)?;
        let listen = given.listen.unwrap_or_else(|| "127.0.0.1:3001".to_owned());
        let operations_listen = match given.operations_listen {
            None => OperationsListen::IfFree,
            Some(text) if text == "off" => OperationsListen::Off,
            Some(text) => OperationsListen::At(address("--operations-listen", &text)?),
        };
        let data_dir = given
            .data_dir
            .unwrap_or_else(|| PathBuf::from("./nahook-data"));
        let store = match given.store {
            Some(url) => StoreUrl::parse(&url).map_err(|reason| wrong("--store", reason))?,
            None => StoreUrl::default_in(&data_dir),
        };
        let queue = match given.queue {
            Some(url) => QueueUrl::parse(&url).map_err(|reason| wrong("--queue", reason))?,
            None => QueueUrl::Store,
        };
        let role = given.role.unwrap_or_default();
        role.check(&store)
            .map_err(|reason| wrong("--role", reason))?;
        let limiter_down = match given.limiter_down {
            Some(LimiterDownChoice::Refuse) => LimiterDown::Refuse,
            Some(LimiterDownChoice::Admit) | None => LimiterDown::Admit,
        };
        // Several servers may share a database, and the sample endpoints point into one of them.
        let (pressure, disk_free_min) = given.pressure.resolve()?;
        let can_have_sample = !matches!(store, StoreUrl::Postgres(_));
        Ok(Settings {
            listen: address("--listen", &listen)?,
            operations_listen,
            tls: given.tls.resolve()?,
            client_connections: match given.client_connections {
                Some(0) => return Err(wrong("--client-connections", "0 lets nobody in")),
                most => most.unwrap_or(CLIENT_CONNECTIONS_DEFAULT),
            },
            trusted_proxies: ranges("--trusted-proxy", given.trusted_proxies)?,
            store,
            data_dir,
            secret_keys: secret_keys(given.secret_key.as_deref(), given.secret_key_file)?,
            queue,
            role,
            hold_deliveries: given.hold_deliveries.unwrap_or(false),
            allow_endpoint_ranges: ranges("--allow-endpoint-range", given.allow_endpoint_ranges)?,
            allow_endpoint_ports: given.allow_endpoint_ports.unwrap_or_default(),
            create_unknown_event_types: given.create_unknown_event_types.unwrap_or(false),
            limiter_down,
            retention: retention(given.retention_days)?,
            portal_url: portal_url(given.portal_url)?,
            log_format: given.log_format,
            sample: can_have_sample && given.sample.unwrap_or(true),
            pressure,
            disk_free_min,
            postgres: given.postgres.resolve()?,
            nats: given.nats.resolve()?,
            pages,
        })
    }
}

impl Settings {
    /// File for the key and the token of a first start, beside the store; none for a store that keeps nothing.
    pub(crate) fn credentials_file(&self) -> Option<PathBuf> {
        let directory = match &self.store {
            StoreUrl::Memory => return None,
            StoreUrl::Sqlite(path) => path.parent().unwrap_or(Path::new(".")),
            StoreUrl::Postgres(_) => &self.data_dir,
        };
        let path = directory.join("first-start.env");
        Some(std::path::absolute(&path).unwrap_or(path))
    }
}

/// Each costs up to 64 KiB of buffers and a file.
const CLIENT_CONNECTIONS_DEFAULT: usize = 4_096;
/// The contract's.
const RETENTION_DAYS_DEFAULT: u32 = 7;
/// A day is how long an idempotency key stands for its delivery, which is not forgotten before that.
const RETENTION_DAYS: RangeInclusive<u32> = 1..=365;

fn retention(days: Option<u32>) -> Result<Duration, ServerError> {
    let days = days.unwrap_or(RETENTION_DAYS_DEFAULT);
    if !RETENTION_DAYS.contains(&days) {
        let (least, most) = (RETENTION_DAYS.start(), RETENTION_DAYS.end());
        let reason = format!("{days} is not a number of days from {least} to {most}");
        return Err(wrong("--retention-days", reason));
    }
    Ok(Duration::from_hours(u64::from(days) * 24))
}

fn wrong(name: &'static str, reason: impl Into<String>) -> ServerError {
    ServerError::Setting {
        name,
        reason: reason.into(),
    }
}

/// An absolute URL to which a query can be added.
fn portal_url(given: Option<String>) -> Result<Option<String>, ServerError> {
    let Some(given) = given else { return Ok(None) };
    let is_fine = given.parse::<url::Url>().is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if !is_fine {
        let reason = format!("{given:?} is not an http or https URL without query and fragment");
        return Err(wrong("--portal-url", reason));
    }
    Ok(Some(given))
}

fn address(name: &'static str, text: &str) -> Result<SocketAddr, ServerError> {
    let reason = || format!("{text:?} is not an address such as 127.0.0.1:3001");
    text.parse().map_err(|_| wrong(name, reason()))
}

/// Ranges, or single addresses as the ranges that hold only them.
fn ranges(name: &'static str, texts: Option<Vec<String>>) -> Result<Vec<IpNet>, ServerError> {
    let parse = |text: &str| {
        let single = || text.parse::<IpAddr>().map(IpNet::from);
        let range = text.parse().or_else(|_| single());
        range.map_err(|_| wrong(name, format!("{text:?} is not a range such as 10.0.0.0/8")))
    };
    let texts = texts.unwrap_or_default();
    let texts = texts.iter().map(|range| range.trim());
    texts.filter(|range| !range.is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests;
