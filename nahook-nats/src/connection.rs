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
use crate::layout::StreamRepair;
use crate::record::MAX_PAYLOAD_MIN;
use crate::violation::{Violation, ViolationLog};

/// Longest duration of an API call of the server.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(5);

/// Oldest nats-server that has everything this crate uses: scheduled messages came with it.
const VERSION_MIN: (u32, u32) = (2, 12);

/// Interval of pings. A lost connection is noticed after two of them at the latest.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Pause after a failed check of the streams.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

/// Pause before another connection is made because the inbox of answers may not be subscribed to.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Recommended `max_payload`: the largest payload of nahook's default plan, 256 KiB, and its surroundings.
const MAX_PAYLOAD_WANTED: usize = (256 + 16) << 10;

/// Most permission errors that wait for a loop.
const VIOLATIONS_MAX: usize = 1_024;

/// State of the connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Link {
    /// True if messages may be sent.
    pub(crate) is_up: bool,
    /// True if the streams have to be checked before messages may be sent over this connection.
    is_unchecked: bool,
    /// True if no answer arrives over this connection, because its inbox may not be subscribed to.
    is_deaf: bool,
    /// Number of connections before this one.
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
        check_version(client.server_info().version)?;
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

    /// Permission errors from now on, in the server's order.
    pub(crate) fn violations(&self) -> broadcast::Receiver<Violation> {
        self.violations.subscribe()
    }

    /// State of the connection, and its changes.
    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.borrow().is_up
    }

    /// Runs the loop that connects again while answers do not arrive, and checks the streams before anything is sent over the
    /// connection on which they do. It ends with `repair`.
    pub(crate) fn check_streams_first(&self, supervisor: &Supervisor, repair: &Arc<StreamRepair>) {
        // None of these keeps the connection open.
        let (changes, sender) = (self.link.subscribe(), Arc::downgrade(&self.link));
        let repair = Arc::downgrade(repair);
        supervisor.spawn(Loop::NatsStreamCheck, move || {
            check_streams(changes.clone(), Weak::clone(&sender), Weak::clone(&repair))
        });
    }
}

async fn check_streams(
    mut changes: watch::Receiver<Link>,
    sender: Weak<watch::Sender<Link>>,
    repair: Weak<StreamRepair>,
) -> Exit {
    let needs_work = |link: &Link| link.is_unchecked || link.is_deaf;
    while changes.wait_for(needs_work).await.is_ok() {
        let before = *changes.borrow();
        let (Some(repair), Some(link)) = (repair.upgrade(), sender.upgrade()) else {
            return Exit::Stopped;
        };
        if before.is_deaf {
            // The server does not say when the right is granted: only another subscription shows it.
            repair.reconnect().await;
            sleep(RECONNECT_PAUSE).await;
            continue;
        }
        let is_fine = tokio::select! {
            is_fine = repair.repair_now() => is_fine,
            _ = changes.wait_for(|link| *link != before) => continue,
        };
        if !is_fine {
            sleep(CHECK_PAUSE).await;
            continue;
        }
        link.send_if_modified(|link| {
            let is_the_same = *link == before;
            if is_the_same {
                (link.is_up, link.is_unchecked) = (true, false);
            }
            is_the_same
        });
    }
    Exit::Stopped
}

fn check_version(found: String) -> Result<(), ConnectError> {
    let mut numbers = found
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    let version = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    if version < VERSION_MIN {
        return Err(ConnectError::ServerTooOld { found });
    }
    Ok(())
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
                    record_violation(&link, &violation);
                    // Nobody may listen yet.
                    let _ = violations.send(violation);
                }
                event => record_event(&link, event),
            }
            std::future::ready(())
        }))
}

fn record_violation(link: &watch::Sender<Link>, violation: &Violation) {
    if violation.is_of_inbox() {
        // A record that was sent now would be stored without an answer.
        link.send_modify(|link| {
            (link.is_up, link.is_unchecked) = (false, false);
            link.is_deaf = true;
        });
    }
}

fn record_event(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            link.send_modify(|link| {
                // The first connection, whose event may come late, is checked by whoever has made it.
                let is_first = link.generation == 0;
                link.is_unchecked = !is_first && link.is_deaf;
                link.is_up = !link.is_unchecked;
                link.is_deaf = false;
            });
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("the connection to NATS is lost");
            link.send_modify(|link| {
                (link.is_up, link.is_unchecked) = (false, false);
                link.generation += 1;
            });
        }
        Event::SlowConsumer(_) => {
            // A record that is dropped is redelivered; an acknowledgement that is dropped leaves deliveries unconfirmed.
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
