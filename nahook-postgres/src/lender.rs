//! The pool: how connections are lent, and given up when whoever used them walks away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tokio::join;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Config, Error, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connection::{Connector, drive};
use crate::error::PgError;
use crate::parameter::Parameter;
use crate::statement::{Answer, Opening, Prepared};

/// Delay before another connection is tried for, where the server has none left.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// From so many on, statements of one pipeline are prepared behind a pooler, too.
const REPEATED: usize = 16;

/// The pool.
#[derive(Clone)]
pub(crate) struct Lender {
    // Absent if it could not be built, which it always can with a runtime and time-outs.
    pool: Option<Pool>,
    tls: MakeRustlsConnect,
    timeout: Duration,
    settings: Option<Arc<str>>,
}

/// Makes the pool's connections.
struct Pooled(Connector);

impl deadpool_postgres::Connect for Pooled {
    fn connect(&self, _config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        async {
            let (client, connection) = self.0.open().await?;
            Ok((client, tokio::spawn(drive(connection))))
        }
        .boxed()
    }
}

impl Lender {
    /// A pool of so many connections, made when they are needed.
    pub(crate) fn new(connector: &Connector, size: usize) -> Self {
        let manager = Manager::from_connect(
            connector.config().clone(),
            Pooled(connector.clone()),
            // A connection that is known to be closed is made again; asking each time would cost a round trip.
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let checking = connector.clone();
        let check = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let connector = checking.clone();
            Box::pin(async move {
                connector.check(client).await.map_err(|error| match error {
                    PgError::Statement(error) => HookError::Backend(error),
                    error => HookError::message(error.to_string()),
                })
            })
        });
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .wait_timeout(Some(connector.timeout()))
            .create_timeout(Some(connector.timeout()))
            .post_create(check)
            .runtime(Runtime::Tokio1)
            .build();
        Self {
            pool: pool.ok(),
            tls: connector.tls().clone(),
            timeout: connector.timeout(),
            settings: connector.settings(),
        }
    }

    /// A connection; waits for one if all are lent, or if the server has no more than these.
    pub(crate) async fn lend(&self) -> Result<Lent, PgError> {
        let pool = self.pool.as_ref().ok_or(PgError::Closed)?;
        let started = Instant::now();
        let client = loop {
            match pool.get().await {
                Ok(client) => break client,
                Err(error) => {
                    let error = PgError::from(error);
                    // A connection that was abandoned may still exist on the server for a moment.
                    if !(error.is_full() && started.elapsed() < self.timeout) {
                        return Err(error);
                    }
                    sleep(FULL_PAUSE).await;
                }
            }
        };
        Ok(Lent {
            client: Some(client),
            is_asking: false,
            is_in_transaction: false,
            tls: self.tls.clone(),
            timeout: self.timeout,
            settings: self.settings.clone(),
        })
    }

    /// Runs a statement on one of the connections.
    pub(crate) async fn query(
        &self,
        statement: &str,
        parameters: &[&dyn Parameter],
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

/// A lent connection. Dropped in the middle of something, that is cancelled on the server, or left to a pooler to end, and
/// the connection is not used again: nobody finds it with a transaction open or an answer underway.
pub(crate) struct Lent {
    client: Option<deadpool_postgres::Client>,
    is_asking: bool,
    is_in_transaction: bool,
    tls: MakeRustlsConnect,
    timeout: Duration,
    settings: Option<Arc<str>>,
}

/// Statements to send before and after those of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    /// Begins a transaction before them.
    pub(crate) opening: Option<Opening>,
    /// Commits it after them.
    pub(crate) is_closed: bool,
}

/// A statement and its parameters.
pub(crate) type Asked<'a> = (&'a str, Vec<&'a dyn Parameter>);

impl Lent {
    /// Runs a statement: in the transaction that is underway, or else in one of its own.
    pub(crate) async fn query(
        &mut self,
        statement: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>, PgError> {
        let asked = [(statement, parameters.to_vec())];
        let answers = self.ask(&asked, Frame::default()).await?;
        // As many answers as statements.
        let answer = answers.into_iter().next().ok_or(PgError::Closed)?;
        Ok(answer?.rows)
    }

    /// Runs statements without waiting for one another's answers, once they are prepared; each sees what those before it
    /// have done. On a session of our own and outside of a transaction each is a transaction of its own; behind a pooler
    /// they are one together.
    pub(crate) async fn ask(
        &mut self,
        asked: &[Asked<'_>],
        mut frame: Frame,
    ) -> Result<Vec<Result<Answer, Error>>, PgError> {
        let client = self.client.as_deref().ok_or(PgError::Closed)?;
        self.is_asking = true;
        let is_pooled = self.settings.is_some();
        if is_pooled && !self.is_in_transaction && frame.opening.is_none() {
            frame = Frame {
                opening: Some(Opening::PLAIN),
                is_closed: true,
            };
        }
        let may_prepare = is_pooled && self.is_in_transaction && !frame.is_closed;
        let repeated = if may_prepare {
            repeated(client, asked).await?
        } else {
            HashMap::new()
        };
        let mut prepared = Vec::with_capacity(asked.len());
        for (statement, parameters) in asked {
            let statement = if is_pooled {
                match repeated.get(statement) {
                    Some(known) => Prepared::Named(known.clone()),
                    None => Prepared::Unnamed(statement),
                }
            } else {
                match client.prepare_cached(statement).await {
                    Ok(statement) => Prepared::Named(statement),
                    Err(error) => {
                        // A refusal is an answer, too.
                        self.is_asking = error.as_db_error().is_none();
                        return Err(error.into());
                    }
                }
            };
            prepared.push((statement, parameters));
        }
        let opening = frame
            .opening
            .map_or_else(String::new, |it| it.text(self.settings.as_deref()));
        let closing = if frame.is_closed { "COMMIT" } else { "" };
        self.is_in_transaction |= frame.opening.is_some();
        if is_pooled {
            // Waited for: without it the statements would run with somebody else's settings.
            say_within(self.timeout, client, &opening).await?;
        }
        let opening = if is_pooled { "" } else { &opening };
        let asking = prepared
            .iter()
            .map(|(statement, parameters)| statement.run(client, parameters));
        let (opened, answers, closed) = join!(
            biased;
            say(client, opening), join_all(asking), say(client, closing),
        );
        opened?;
        // For whoever began the transaction it is to end it, also after a refusal.
        let is_refusal = |answer: &Result<Answer, Error>| {
            answer
                .as_ref()
                .map_or_else(|error| error.as_db_error().is_some(), |_| true)
        };
        self.is_asking = !answers.iter().all(is_refusal);
        if frame.is_closed && !self.is_asking {
            // The first failure is told before that of the commit, which it has caused.
            if answers.iter().all(Result::is_ok) {
                closed?;
            }
            self.is_in_transaction = false;
        }
        Ok(answers)
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self, opening: Opening) -> Result<(), PgError> {
        let client = self.client.as_deref().ok_or(PgError::Closed)?;
        self.is_in_transaction = true;
        say_within(
            self.timeout,
            client,
            &opening.text(self.settings.as_deref()),
        )
        .await
    }

    /// Ends the transaction that is underway: keeps it or not.
    pub(crate) async fn conclude(&mut self, is_kept: bool) -> Result<(), PgError> {
        let client = self.client.as_deref().ok_or(PgError::Closed)?;
        say(client, if is_kept { "COMMIT" } else { "ROLLBACK" }).await?;
        self.is_in_transaction = false;
        Ok(())
    }
}

/// Prepares what is asked often in the transaction that is underway. Dropped before that ends, it is gone from the session,
/// too; planned each time, a wide manifest would take minutes.
async fn repeated<'a>(
    client: &Client,
    asked: &[Asked<'a>],
) -> Result<HashMap<&'a str, Statement>, Error> {
    let mut counts = HashMap::<_, usize>::new();
    for (statement, _) in asked {
        *counts.entry(*statement).or_default() += 1;
    }
    let mut repeated = HashMap::new();
    for (statement, count) in counts {
        if count >= REPEATED {
            repeated.insert(statement, client.prepare(statement).await?);
        }
    }
    Ok(repeated)
}

async fn say(client: &Client, words: &str) -> Result<(), Error> {
    match words {
        "" => Ok(()),
        words => client.batch_execute(words).await,
    }
}

/// Begins a transaction, which a pooler answers once it has a session, or never.
async fn say_within(timeout: Duration, client: &Client, words: &str) -> Result<(), PgError> {
    let said = tokio::time::timeout(timeout, say(client, words)).await;
    Ok(said.map_err(|_| PgError::NoConnection)??)
}

impl Drop for Lent {
    fn drop(&mut self) {
        let is_busy = self.is_asking || self.is_in_transaction;
        let Some(client) = self.client.take().filter(|_| is_busy) else {
            return;
        };
        let client = deadpool_postgres::Client::take(client);
        // A pooler ends the session of a client that leaves in the middle of something, and some (PgBouncer 1.18 to 1.20)
        // crash on requests to cancel.
        if client.is_closed() || self.settings.is_some() {
            return;
        }
        let (cancel, tls) = (client.cancel_token(), self.tls.clone());
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
