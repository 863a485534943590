//! Connections: how they are made, and whose the sessions behind them are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nahook_core::Causes;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::value_at;
use crate::session::{Mark, for_transaction};
use crate::statement::{Opening, Prepared};
use crate::tls;
use crate::url::UrlSettings;
use crate::{ConnectError, PostgresSettings};

/// The encrypted stream of the connector in use.
type TlsStream = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
    sessions: Sessions,
}

/// Owner of the sessions behind our connections.
#[derive(Clone, Debug)]
pub(crate) enum Sessions {
    /// Ours for as long as the connection: they are started with the settings, and keep prepared statements.
    Own(Mark),
    /// A pooler's, for one transaction each: every transaction begins with these settings, and nothing is left behind.
    Pooled(Arc<str>),
}

/// Returns true if nothing that the URL names is beyond this machine.
fn is_this_machine(config: &Config) -> bool {
    let is_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    };
    // An address goes before the name beside it.
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(is_here),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

impl Connector {
    /// Connects to the database at `url`, and finds out whether a pooler is in between.
    pub(crate) async fn recognize(
        url: &str,
        settings: &PostgresSettings,
    ) -> Result<(Self, Link), ConnectError> {
        let (url, found) = UrlSettings::take_from(url)?;
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
        // Sockets in a directory are this machine's: there is nobody to hide from.
        let is_local = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        if !found.is_verified() && !is_this_machine(&config) {
            tracing::warn!(
                "the database's certificate is not checked: whoever is on the way can pass for it; set sslmode=verify-full"
            );
        }
        config.ssl_mode(if is_local {
            SslMode::Disable
        } else {
            found.mode
        });
        config.connect_timeout(settings.connect_timeout);
        config.keepalives_idle(Duration::from_secs(30));
        let pooled = Self {
            config,
            tls: tls::connector(found.trust, found.root_file.as_deref())?,
            timeout: settings.connect_timeout,
            sessions: Sessions::Pooled(for_transaction(settings).into()),
        };
        let mut own = pooled.clone();
        let mark = Mark::new();
        let options = mark.options(own.config.get_options(), settings);
        own.config.options(options);
        own.sessions = Sessions::Own(mark);
        if !found.is_pooled {
            match own.connect().await {
                Ok(link) => return Ok((own, link)),
                Err(PgError::ForeignSession) => {}
                Err(error) if error.may_be_a_poolers() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let link = pooled.connect().await?;
        Ok((pooled, link))
    }

    /// Returns true if a pooler lends its sessions to others, too.
    pub(crate) fn is_pooled(&self) -> bool {
        matches!(self.sessions, Sessions::Pooled(_))
    }

    /// Returns the settings to begin each transaction with, where the session does not have them.
    pub(crate) fn settings(&self) -> Option<Arc<str>> {
        match &self.sessions {
            Sessions::Own(_) => None,
            Sessions::Pooled(settings) => Some(Arc::clone(settings)),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn tls(&self) -> &MakeRustlsConnect {
        &self.tls
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A new connection and its driver, which has to be polled for anything to happen.
    pub(crate) async fn open(
        &self,
    ) -> Result<(Client, Connection<Socket, TlsStream>), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// Fails if the session of a new connection is not whose it should be.
    pub(crate) async fn check(&self, client: &Client) -> Result<(), PgError> {
        match &self.sessions {
            Sessions::Own(mark) if !mark.is_on(client).await? => Err(PgError::ForeignSession),
            Sessions::Own(_) | Sessions::Pooled(_) => Ok(()),
        }
    }

    /// A new connection that drives itself.
    pub(crate) async fn connect(&self) -> Result<Link, PgError> {
        let connecting = async {
            let client = self.connect_driven().await?;
            self.check(&client).await?;
            Ok::<_, PgError>(client)
        };
        let client = tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_| PgError::NoConnection)??;
        Ok(Link {
            client,
            settings: self.settings(),
            timeout: self.timeout,
        })
    }

    async fn connect_driven(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.open().await?;
        tokio::spawn(drive(connection));
        Ok(client)
    }
}

/// Exchanges messages until the connection ends.
pub(crate) async fn drive(connection: Connection<Socket, TlsStream>) {
    if let Err(error) = connection.await {
        tracing::debug!(error = %Causes(&error), "a connection has ended");
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A connection outside of the pool.
pub(crate) struct Link {
    pub(crate) client: Client,
    settings: Option<Arc<str>>,
    timeout: Duration,
}

impl Link {
    /// A statement for [`query`](Self::query).
    pub(crate) async fn prepare<'a>(
        &self,
        statement: &'a str,
    ) -> Result<Prepared<'a>, tokio_postgres::Error> {
        Ok(match self.settings {
            None => Prepared::Named(self.client.prepare(statement).await?),
            Some(_) => Prepared::Unnamed(statement),
        })
    }

    /// Runs a statement as a transaction of its own.
    ///
    /// If it fails with an error of the server's, the transaction is rolled back, unless the error came with the commit.
    pub(crate) async fn query(
        &self,
        statement: &Prepared<'_>,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        if self.settings.is_none() {
            return Ok(statement.run(&self.client, parameters).await?.rows);
        }
        // Waited for: without it the statement would run with somebody else's settings.
        if let Err(error) = self.begin(Opening::PLAIN).await {
            // It may have failed after BEGIN: the next transaction must not find itself within this one.
            let _ = self.client.batch_execute("ROLLBACK").await;
            return Err(error);
        }
        let (answered, committed) = tokio::join!(
            biased;
            statement.run(&self.client, parameters),
            self.client.batch_execute("COMMIT"),
        );
        let rows = answered?.rows;
        committed?;
        Ok(rows)
    }

    /// Asks a question about an advisory lock, within the connection's timeout.
    pub(crate) async fn ask_key(&self, question: &str, key: i64) -> Result<bool, PgError> {
        let question = Prepared::Unnamed(question);
        let parameters: [&dyn Parameter; 1] = [&key];
        let asking = tokio::time::timeout(self.timeout, self.query(&question, &parameters));
        let rows = asking.await.map_err(|_| PgError::NoConnection)??;
        rows.first().map_or(Ok(false), |row| value_at(row, 0))
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, opening: Opening) -> Result<(), tokio_postgres::Error> {
        let text = opening.text(self.settings.as_deref());
        self.client.batch_execute(&text).await
    }
}
