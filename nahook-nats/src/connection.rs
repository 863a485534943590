//! The connection that publisher and queue share.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::watch;

use crate::address;
use crate::config::{Credentials, NatsSettings};
use crate::error::ConnectError;
use crate::layout::{API_TIMEOUT, version_of};

/// How soon a lost connection is noticed if nothing else shows it: two of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Link {
    pub(crate) is_up: bool,
    /// How many connections there were before this one.
    pub(crate) generation: u64,
}

/// A connection that is made again whenever it is lost.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) context: Context,
    link: Arc<watch::Sender<Link>>,
}

impl Connection {
    pub(crate) async fn open(servers: &str, settings: &NatsSettings) -> Result<Self, ConnectError> {
        let link = Arc::new(watch::Sender::new(Link::default()));
        let (servers, named) = address::read(servers)?;
        let client = options(settings, named, &link)
            .await?
            .connect(servers)
            .await
            .map_err(|error| match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    ConnectError::Refused(error.into())
                }
                ConnectErrorKind::Tls => ConnectError::Credentials(error.into()),
                _ => ConnectError::Unreachable(error.into()),
            })?;
        if version_of(&client.server_info().version) < (2, 9) {
            return Err(ConnectError::ServerTooOld);
        }
        link.send_modify(|link| link.is_up = true);
        let context = jetstream::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            link,
        })
    }

    /// Whether there is a connection, and its changes.
    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.borrow().is_up
    }
}

async fn options(
    settings: &NatsSettings,
    named: Credentials,
    link: &Arc<watch::Sender<Link>>,
) -> Result<ConnectOptions, ConnectError> {
    let unusable = |error: std::io::Error| ConnectError::Credentials(error.into());
    let mut options = ConnectOptions::new();
    let credentials = match &settings.credentials {
        Credentials::None => named,
        given => given.clone(),
    };
    options = match credentials {
        Credentials::None => options,
        Credentials::File(path) => options.credentials_file(path).await.map_err(unusable)?,
        Credentials::NkeySeed(seed) => options.nkey(seed),
        Credentials::Token(token) => options.token(token),
        Credentials::User(name, password) => options.user_and_password(name, password),
    };
    // The library would panic on a path that it cannot read, or say so only while connecting.
    let tls = &settings.tls;
    let files = tls.root_certificates.iter().chain(
        tls.client_certificate
            .iter()
            .flat_map(|(certificate, key)| [certificate, key]),
    );
    for path in files {
        std::fs::metadata(path).map_err(unusable)?;
    }
    if let Some(path) = &tls.root_certificates {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &tls.client_certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    let link = Arc::clone(link);
    Ok(options
        .name("nahook")
        .require_tls(tls.required)
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(API_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .client_capacity(8_192)
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50 * u64::try_from(attempts).unwrap_or(u64::MAX).min(10))
        })
        .event_callback(move |event| {
            note(&link, &event);
            std::future::ready(())
        }))
}

fn note(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            link.send_modify(|link| link.is_up = true);
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("the connection to NATS is lost");
            link.send_modify(|link| {
                link.is_up = false;
                link.generation += 1;
            });
        }
        Event::SlowConsumer(_) => {
            // What is dropped is redelivered; an acknowledgement that is dropped leaves a delivery unconfirmed.
            tracing::warn!("the process does not keep up with what NATS sends");
        }
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server reports an error"),
        Event::ClientError(error) => tracing::warn!(%error, "the NATS client reports an error"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("link", &*self.link.borrow())
            .finish_non_exhaustive()
    }
}
