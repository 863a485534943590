//! Connections: how they are made, set up, lent, and given up when whoever used them walks away.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Connection, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::PgError;
use crate::tls::{self, Trust};
use crate::{ConnectError, PostgresSettings};

/// The encrypted stream of the connector in use.
type TlsStream = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
    setup: Arc<str>,
}

impl Connector {
    /// Reads the URL; connects to nothing yet.
    pub(crate) fn new(url: &str, settings: &PostgresSettings) -> Result<Self, ConnectError> {
        let (url, encryption) = Encryption::take_from(url)?;
        let mut config: Config = url
            .parse()
            .map_err(|error| ConnectError::Url(Box::new(error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        if config.get_user().is_none() {
            let error = "the URL names no user";
            return Err(ConnectError::Url(error.into()));
        }
        if config.get_application_name().is_none() {
            config.application_name("nahook");
        }
        // Sockets in a directory are this machine's: there is nobody to hide from.
        let is_local = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(if is_local {
            SslMode::Disable
        } else {
            encryption.mode
        });
        config.connect_timeout(settings.connect_timeout);
        config.keepalives_idle(Duration::from_secs(30));
        Ok(Self {
            config,
            tls: tls::connector(encryption.trust, encryption.root_file.as_deref())?,
            timeout: settings.connect_timeout,
            setup: setup(settings).into(),
        })
    }

    /// A new connection, set up, and its driver, which has to be polled for anything to happen.
    pub(crate) async fn open(
        &self,
    ) -> Result<(Client, Connection<Socket, TlsStream>), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// What every connection has to be told first.
    pub(crate) fn setup(&self) -> &str {
        &self.setup
    }

    /// A new connection that drives itself.
    pub(crate) async fn connect(&self) -> Result<Client, PgError> {
        let connecting = self.connect_driven();
        let (client, _driver) = tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_| PgError::NoConnection)??;
        Ok(client)
    }

    async fn connect_driven(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = self.open().await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection has ended");
            }
        });
        client.batch_execute(&self.setup).await?;
        Ok((client, driver))
    }

    /// A pool of such connections.
    pub(crate) fn pool(&self, size: usize) -> Lender {
        let manager = Manager::from_connect(
            self.config.clone(),
            Pooled(self.clone()),
            // A connection that is known to be closed is made again; asking each time would cost a round trip.
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .wait_timeout(Some(self.timeout))
            .create_timeout(Some(self.timeout))
            .runtime(Runtime::Tokio1)
            .build();
        Lender {
            pool: pool.ok(),
            tls: self.tls.clone(),
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// The statements that set a connection up.
fn setup(settings: &PostgresSettings) -> String {
    let schema = crate::schema::quoted(&settings.schema);
    let millis = |timeout: Duration| timeout.as_millis().clamp(1, 1_000_000_000);
    format!(
        "SET search_path = {schema}, pg_temp; \
         SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {}; \
         SET jit = off; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET client_min_messages = warning; \
         SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
             WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
        millis(settings.statement_timeout),
        millis(settings.lock_timeout),
        millis(settings.statement_timeout.saturating_mul(2)),
    )
}

/// What the URL says of encryption, which the driver knows only half of.
struct Encryption {
    mode: SslMode,
    trust: Trust,
    root_file: Option<String>,
}

impl Encryption {
    /// Reads `sslmode` and `sslrootcert`; answers the URL without them.
    fn take_from(url: &str) -> Result<(String, Self), ConnectError> {
        let mut encryption = Self {
            mode: SslMode::Prefer,
            trust: Trust::Anyone,
            root_file: None,
        };
        let Some((address, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), encryption));
        };
        let mut others = Vec::new();
        for parameter in query.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => {
                    (encryption.mode, encryption.trust) = match mode {
                        "disable" => (SslMode::Disable, Trust::Anyone),
                        "allow" | "prefer" => (SslMode::Prefer, Trust::Anyone),
                        "require" => (SslMode::Require, Trust::Anyone),
                        "verify-ca" => (SslMode::Require, Trust::Authority),
                        "verify-full" => (SslMode::Require, Trust::Host),
                        _ => return Err(ConnectError::Url("no such sslmode".into())),
                    };
                }
                Some(("sslrootcert", file)) => encryption.root_file = Some(decoded(file)?),
                _ => others.push(parameter),
            }
        }
        let rest = if others.is_empty() {
            address.to_owned()
        } else {
            format!("{address}?{}", others.join("&"))
        };
        Ok((rest, encryption))
    }
}

fn decoded(text: &str) -> Result<String, ConnectError> {
    let invalid = || ConnectError::Url("an invalid percent escape".into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(invalid)?;
        let digits = std::str::from_utf8(digits).map_err(|_| invalid())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| invalid())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// How the pool makes connections.
struct Pooled(Connector);

impl deadpool_postgres::Connect for Pooled {
    fn connect(
        &self,
        _config: &Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        self.0.connect_driven().boxed()
    }
}

/// The pool.
pub(crate) struct Lender {
    // Absent if it could not be built, which it always can with a runtime and time-outs.
    pool: Option<Pool>,
    tls: MakeRustlsConnect,
}

impl Lender {
    /// A connection; waits for one if all are lent.
    pub(crate) async fn lend(&self) -> Result<Lent, PgError> {
        let pool = self.pool.as_ref().ok_or(PgError::Closed)?;
        Ok(Lent {
            client: Some(pool.get().await?),
            is_busy: false,
            tls: self.tls.clone(),
        })
    }

    /// Runs a statement on one of the connections.
    pub(crate) async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PgError> {
        self.lend().await?.query(statement, parameters).await
    }

    /// Closes those that are not lent; those that are, when they come back.
    pub(crate) fn close(&self) {
        if let Some(pool) = &self.pool {
            pool.close();
        }
    }
}

impl std::fmt::Debug for Lender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lender").finish_non_exhaustive()
    }
}

/// A lent connection. Dropped in the middle of something, that is cancelled on the server and the connection is not used
/// again: nobody finds it with a transaction open or an answer underway.
pub(crate) struct Lent {
    client: Option<deadpool_postgres::Client>,
    is_busy: bool,
    tls: MakeRustlsConnect,
}

impl Lent {
    /// Runs a statement.
    pub(crate) async fn query(
        &mut self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PgError> {
        let was_busy = self.is_busy;
        let client = self.begin()?;
        let answered = match client.prepare_cached(statement).await {
            Ok(statement) => client.query(&statement, parameters).await,
            Err(error) => Err(error),
        };
        // A refusal is an answer, too; inside a transaction it is for whoever began that to end it.
        if answered
            .as_ref()
            .map_or_else(|error| error.as_db_error().is_some(), |_| true)
        {
            self.is_busy = was_busy;
        }
        Ok(answered?)
    }

    /// Prepares a statement, or finds it prepared.
    pub(crate) async fn prepare(&mut self, statement: &str) -> Result<Statement, PgError> {
        let was_busy = self.is_busy;
        let statement = self.begin()?.prepare_cached(statement).await?;
        self.is_busy = was_busy;
        Ok(statement)
    }

    /// The connection, for something that has several steps; [`end`](Self::end) says that all are done. Without it, the
    /// connection is given up.
    pub(crate) fn begin(&mut self) -> Result<&ClientWrapper, PgError> {
        self.is_busy = true;
        self.client.as_deref().ok_or(PgError::Closed)
    }

    /// Ends the transaction that is underway: keeps it or not.
    pub(crate) async fn conclude(&mut self, is_kept: bool) -> Result<(), PgError> {
        let end = if is_kept { "COMMIT" } else { "ROLLBACK" };
        self.begin()?.batch_execute(end).await?;
        self.end();
        Ok(())
    }

    /// Nothing is underway any more.
    pub(crate) fn end(&mut self) {
        self.is_busy = false;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(client) = self.client.take().filter(|_| self.is_busy) else {
            return;
        };
        let client = deadpool_postgres::Client::take(client);
        let (cancel, tls) = (client.cancel_token(), self.tls.clone());
        if client.is_closed() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // At worst the server's own time-out ends it.
                let cancelling = cancel.cancel_query(tls);
                let _ = tokio::time::timeout(Duration::from_secs(1), cancelling).await;
                drop(client);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_read_from_the_url() {
        let url = "postgres://a@b/c?sslmode=verify-full&sslrootcert=%2Fa%20b.pem&port=1";
        let (rest, encryption) = Encryption::take_from(url).expect("a valid URL");
        assert_eq!(rest, "postgres://a@b/c?port=1");
        assert_eq!(encryption.mode, SslMode::Require);
        assert_eq!(encryption.trust, Trust::Host);
        assert_eq!(encryption.root_file.as_deref(), Some("/a b.pem"));
    }

    #[test]
    fn a_wrong_mode_is_refused() {
        assert!(Encryption::take_from("postgres://a@b/c?sslmode=verify").is_err());
        assert!(Encryption::take_from("postgres://a@b/c?sslrootcert=%zz").is_err());
    }
}
