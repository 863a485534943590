//! The connection that publisher and queue share.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::watch;

use crate::address;
use crate::config::{Credentials, NatsSettings};
use crate::error::ConnectError;
use crate::layout::{API_TIMEOUT, needs_a_look, version_of};

/// How soon a lost connection is noticed if nothing else shows it: two of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How soon the streams are looked at again if that was not possible.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Link {
    /// Whether messages may be sent.
    pub(crate) is_up: bool,
    /// Whether there is a connection over which none may be sent before somebody has had a look at the streams …
    needs_a_look: bool,
    /// … as is so of each that is made again.
    is_looked_at_first: bool,
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

    /// Has `look` look at the streams whenever a server that may have forgotten something is there again, before anything is
    /// sent. The task ends with the connection.
    pub(crate) fn look_first<F>(&self, look: impl Fn() -> Option<F> + Send + 'static)
    where
        F: Future<Output = bool> + Send,
    {
        let version = self.client.server_info().version;
        self.link
            .send_modify(|link| link.is_looked_at_first = needs_a_look(&version));
        // Neither keeps the connection open.
        let (mut changes, sender) = (self.link.subscribe(), Arc::downgrade(&self.link));
        tokio::spawn(async move {
            while changes.wait_for(|link| link.needs_a_look).await.is_ok() {
                let generation = changes.borrow().generation;
                let Some(looking) = look() else {
                    return;
                };
                if !looking.await {
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
                let Some(link) = sender.upgrade() else {
                    return;
                };
                link.send_if_modified(|link| {
                    let is_the_same = link.generation == generation && link.needs_a_look;
                    if is_the_same {
                        (link.is_up, link.needs_a_look) = (true, false);
                    }
                    is_the_same
                });
            }
        });
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
            link.send_modify(|link| {
                // The first connection, of which this may be told late, is looked at by whoever has made it.
                link.needs_a_look = link.is_looked_at_first && link.generation > 0;
                link.is_up = !link.needs_a_look;
            });
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("the connection to NATS is lost");
            link.send_modify(|link| {
                (link.is_up, link.needs_a_look) = (false, false);
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
