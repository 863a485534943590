//! The connection that publisher and queue share.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;

use crate::address;
use crate::config::{Credentials, NatsSettings};
use crate::error::ConnectError;
use crate::layout::{API_TIMEOUT, Mending, needs_a_look, version_of};
use crate::record::MAX_PAYLOAD_MIN;
use crate::violation::{Violation, ViolationLog};

/// How soon a lost connection is noticed if nothing else shows it: two of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How soon the streams are looked at again if that was not possible.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How soon another connection is made if the answers' inbox may not be subscribed to.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The least that a server should take: the largest payload of nahook's default plan, 256 KiB, with what goes with it.
const MAX_PAYLOAD_WANTED: usize = (256 + 16) << 10;

/// How many permission errors wait for a loop at most.
const VIOLATIONS_MAX: usize = 1_024;

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one is the server's version, the others change together"
)]
pub(crate) struct Link {
    /// Whether messages may be sent.
    pub(crate) is_up: bool,
    /// Whether there is a connection over which none may be sent before somebody has had a look at the streams …
    needs_a_look: bool,
    /// … as is so of each that is made again.
    is_looked_at_first: bool,
    /// Whether no answer arrives over this connection, as its inbox may not be subscribed to.
    is_deaf: bool,
    /// How many connections there were before this one.
    pub(crate) generation: u64,
}

/// A connection that is made again whenever it is lost.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) context: Context,
    link: Arc<watch::Sender<Link>>,
    violations: broadcast::Sender<Violation>,
}

impl Connection {
    pub(crate) async fn open(servers: &str, settings: &NatsSettings) -> Result<Self, ConnectError> {
        let link = Arc::new(watch::Sender::new(Link::default()));
        let violations = broadcast::Sender::new(VIOLATIONS_MAX);
        let (servers, named) = address::read(servers)?;
        let client = options(settings, named, &link, &violations)
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
        check_max_payload(client.max_payload())?;
        link.send_modify(|link| link.is_up = true);
        let context = jetstream::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            link,
            violations,
        })
    }

    /// The permission errors from now on, in the server's order.
    pub(crate) fn violations(&self) -> broadcast::Receiver<Violation> {
        self.violations.subscribe()
    }

    /// Whether there is a connection, and its changes.
    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.borrow().is_up
    }

    /// Runs the loop that has the streams inspected before anything is sent over a connection that needs it: the server may
    /// have forgotten something, or its answers did not arrive over the one before. It ends with `mending`.
    pub(crate) fn look_first(&self, supervisor: &Supervisor, mending: &Arc<Mending>) {
        let version = self.client.server_info().version;
        self.link
            .send_modify(|link| link.is_looked_at_first = needs_a_look(&version));
        // None of these keeps the connection open.
        let (changes, sender) = (self.link.subscribe(), Arc::downgrade(&self.link));
        let mending = Arc::downgrade(mending);
        supervisor.spawn(Loop::NatsStreamCheck, move || {
            look(changes.clone(), Weak::clone(&sender), Weak::clone(&mending))
        });
    }
}

async fn look(
    mut changes: watch::Receiver<Link>,
    sender: Weak<watch::Sender<Link>>,
    mending: Weak<Mending>,
) -> Exit {
    let needs_work = |link: &Link| link.needs_a_look || link.is_deaf;
    while changes.wait_for(needs_work).await.is_ok() {
        let before = *changes.borrow();
        let (Some(mending), Some(link)) = (mending.upgrade(), sender.upgrade()) else {
            return Exit::Stopped;
        };
        if before.is_deaf {
            // The server does not say when the right is granted: only another subscription shows it.
            mending.reconnect().await;
            sleep(RECONNECT_PAUSE).await;
            continue;
        }
        let is_fine = tokio::select! {
            is_fine = mending.look_now() => is_fine,
            _ = changes.wait_for(|link| *link != before) => continue,
        };
        if !is_fine {
            sleep(LOOK_PAUSE).await;
            continue;
        }
        link.send_if_modified(|link| {
            let is_the_same = *link == before;
            if is_the_same {
                (link.is_up, link.needs_a_look) = (true, false);
            }
            is_the_same
        });
    }
    Exit::Stopped
}

fn check_max_payload(found: usize) -> Result<(), ConnectError> {
    if found < MAX_PAYLOAD_MIN {
        return Err(ConnectError::MaxPayload {
            found,
            wanted: MAX_PAYLOAD_MIN,
        });
    }
    if found < MAX_PAYLOAD_WANTED {
        tracing::warn!(
            max_payload = found,
            wanted = MAX_PAYLOAD_WANTED,
            "the NATS server takes smaller messages than nahook takes payloads: larger ones are refused as payload_too_large"
        );
    }
    Ok(())
}

async fn options(
    settings: &NatsSettings,
    named: Credentials,
    link: &Arc<watch::Sender<Link>>,
    violations: &broadcast::Sender<Violation>,
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
    let (link, violations) = (Arc::clone(link), violations.clone());
    let log = ViolationLog::default();
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
            match &event {
                Event::ServerError(error) if let Some(violation) = Violation::of(error) => {
                    log.log(&violation);
                    note_violation(&link, &violation);
                    // Nobody may listen yet.
                    let _ = violations.send(violation);
                }
                event => note(&link, event),
            }
            std::future::ready(())
        }))
}

fn note_violation(link: &watch::Sender<Link>, violation: &Violation) {
    if violation.is_of_inbox() {
        // Whatever was sent now would be stored, and nobody would learn it.
        link.send_modify(|link| {
            (link.is_up, link.needs_a_look) = (false, false);
            link.is_deaf = true;
        });
    }
}

fn note(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            link.send_modify(|link| {
                // The first connection, of which this may be told late, is looked at by whoever has made it.
                let is_first = link.generation == 0;
                link.needs_a_look = !is_first && (link.is_looked_at_first || link.is_deaf);
                link.is_up = !link.needs_a_look;
                link.is_deaf = false;
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
