//! One statement for all who arrived while the last one ran; smaller ones where it fails.

mod endpoints;
mod keyed;
mod together;

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use nahook_core::{Causes, Clock, FailureKind, Outcome};
use tokio::time::{Instant, timeout};
use tokio_postgres::error::{Severity, SqlState};

use self::endpoints::{EndpointRows, FIND_ENDPOINTS};
use self::keyed::PUBLISH_KEYED;
pub(crate) use self::keyed::over_before;
use self::together::{Columns, LeftOut, PUBLISH};
use super::inbox::{Connected, Inbox};
use super::{Job, PublishJob, Written};
use crate::PostgresSettings;
use crate::connection::{Connector, Link};
use crate::error::{PgError, WriteEffect};
use crate::listener::Signals;
use crate::metric;
use crate::parameter::Parameter;
use crate::row::{Bits, nanos};
use crate::statement::Prepared;

/// Writes one event, whose event type may be gone; answers endpoint by endpoint whether it exists.
const PUBLISH_ALONE: &str = "SELECT publish($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// By then everything is answered: after it, nothing is tried again. Well within the engine's deadline of 5 s.
pub(super) const BUDGET: Duration = Duration::from_secs(4);

/// Time beyond the server's own timeout after which a connection without an answer counts as lost.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// A writer's connection.
pub(super) struct WriterConnection {
    connector: Connector,
    signals: Arc<Signals>,
    pub(super) statement_timeout: Duration,
    lock_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    endpoints: EndpointRows,
    pub(super) open: Option<Open>,
}

pub(super) struct Open {
    pub(super) link: Link,
    pub(super) publish: Prepared<'static>,
    pub(super) find_endpoints: Prepared<'static>,
    publish_alone: Prepared<'static>,
    pub(super) publish_keyed: Prepared<'static>,
    _connected: Connected,
}

/// Why a statement did not write.
#[derive(Clone, Copy)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// Timeout of each of its events, if it is worth trying them one by one.
    pub(super) retry: Option<Duration>,
}

impl WriterConnection {
    pub(super) fn new(
        connector: Connector,
        settings: &PostgresSettings,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            connector,
            signals,
            statement_timeout: settings.statement_timeout,
            lock_timeout: settings.lock_timeout,
            clock: Arc::clone(&settings.clock),
            endpoints: EndpointRows::default(),
            open: None,
        }
    }

    /// Makes sure that there is a connection, as far as one can know without asking the server.
    pub(super) async fn connect(&mut self, inbox: &Arc<Inbox>) -> Result<(), PgError> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.link.client.is_closed())
        {
            return Ok(());
        }
        self.open = None;
        let link = self.connector.connect().await?;
        let preparing = async {
            let publish = link.prepare(PUBLISH).await?;
            let find_endpoints = link.prepare(FIND_ENDPOINTS).await?;
            let publish_alone = link.prepare(PUBLISH_ALONE).await?;
            let publish_keyed = link.prepare(PUBLISH_KEYED).await?;
            Ok::<_, PgError>((publish, find_endpoints, publish_alone, publish_keyed))
        };
        let (publish, find_endpoints, publish_alone, publish_keyed) =
            timeout(self.statement_timeout + GRACE, preparing)
                .await
                .map_err(|_| PgError::NoConnection)??;
        self.open = Some(Open {
            link,
            publish,
            find_endpoints,
            publish_alone,
            publish_keyed,
            _connected: Connected::to(inbox),
        });
        Ok(())
    }

    /// Writes the jobs, and answers every one of them.
    pub(super) async fn write(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let started = Instant::now();
        let (mut publish, mut keyed) = (Vec::with_capacity(jobs.len()), Vec::new());
        let mut checks = Vec::new();
        for job in jobs {
            match job {
                Job::Check(answer) => checks.push(answer),
                Job::Publish(job) if job.key().is_some() => keyed.push(job),
                Job::Publish(job) => publish.push(job),
            }
        }
        let is_news = !(publish.is_empty() && keyed.is_empty());
        self.publish(publish, started).await;
        self.publish_keyed(keyed, started).await;
        if is_news {
            self.signals.records_have_come();
        }
        for answer in checks {
            let _ = answer.send(self.check().await.map_err(Arc::new));
        }
    }

    /// Runs the statement that publishes, for nothing.
    async fn check(&mut self) -> Result<(), PgError> {
        let open = self.open.as_ref().ok_or(PgError::NoConnection)?;
        let nothing = Columns::default();
        let asked = timeout(
            self.statement_timeout + GRACE,
            open.publish_all(&[], &nothing),
        );
        let error = match asked.await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => {
                self.open = None;
                return Err(PgError::NoConnection);
            }
        };
        if !was_refused(&error) {
            self.open = None;
        }
        Err(error.into())
    }

    async fn publish(&mut self, jobs: Vec<PublishJob>, started: Instant) {
        if jobs.is_empty() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        histogram!(metric::PUBLISH_GROUP).record(jobs.len() as f64);
        match self.write_together(&jobs).await {
            Ok(left_out) => self.answer(jobs, &left_out).await,
            Err(mut failed) => {
                for job in jobs {
                    // As long as there is time to wait for what was failed with before.
                    let patience = failed.retry.filter(|it| started.elapsed() + *it <= BUDGET);
                    let written = match patience {
                        None => Err(failed),
                        Some(_) => self.write_alone(&job).await,
                    };
                    let answer = written.unwrap_or_else(|error| {
                        if error.retry.is_some() {
                            failed = error;
                        }
                        Written::all(error.outcome)
                    });
                    job.answer(answer);
                }
            }
        }
    }

    /// Answers jobs that were written, but for what was left out.
    async fn answer(&mut self, jobs: Vec<PublishJob>, left_out: &LeftOut) {
        for (number, job) in (1..).zip(jobs) {
            let written = if left_out.has_event(number) {
                // Its event type may be gone, or every one of its endpoints.
                let written = self.write_alone(&job).await;
                written.unwrap_or_else(|failed| Written::all(failed.outcome))
            } else {
                let gone = left_out.gone(&job, &self.endpoints);
                Written::all_but(gone)
            };
            job.answer(written);
        }
    }

    async fn write_alone(&mut self, job: &PublishJob) -> Result<Written, Failed> {
        let ordinals: Vec<_> = job.slots.iter().map(|slot| slot.0).collect();
        let endpoints: Vec<_> = job.slots.iter().map(|slot| slot.1.as_str()).collect();
        let event = &job.event;
        let Some(open) = self
            .open
            .as_ref()
            .filter(|open| !open.link.client.is_closed())
        else {
            return Err(unsent());
        };
        let parameters: [&dyn Parameter; 9] = [
            &Bits(event.id.as_bits()),
            &event.workspace.as_str(),
            &job.event_type(),
            &job.event_type_name(),
            &nanos(event.accepted_at),
            &job.metadata,
            &&event.payload.as_bytes()[..],
            &ordinals,
            &endpoints,
        ];
        let asked = open.link.query(&open.publish_alone, &parameters);
        let answered = timeout(self.statement_timeout + GRACE, asked).await;
        let rows = self.concluded(answered)?;
        let taken: Option<Vec<bool>> = rows.first().and_then(|row| row.try_get(0).ok());
        let taken = taken.ok_or_else(internal)?;
        let gone = job.slots.iter().zip(taken).filter(|(_, taken)| !taken);
        Ok(Written::all_but(gone.map(|(slot, _)| slot.2).collect()))
    }

    /// Returns the result of a statement, and gives up a connection that may be lost.
    pub(super) fn concluded<T>(
        &mut self,
        answered: Result<Result<T, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failed> {
        let error = match answered {
            Ok(Ok(answer)) => {
                // Before anybody is told: whoever leases after that finds it.
                self.signals.note_records();
                return Ok(answer);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                tracing::error!("the server has not answered; the connection is given up");
                self.open = None;
                return Err(unconfirmed());
            }
        };
        let effect = WriteEffect::of(&error);
        counter!(metric::PUBLISH_ERRORS).increment(1);
        if error.code() == Some(&SqlState::DISK_FULL) {
            self.signals.note_full_disk();
        }
        tracing::warn!(error = %Causes(&error), code = error.code().map(SqlState::code), fate = %effect, "publishing failed");
        match effect {
            WriteEffect::RolledBack { kind, is_divisible } => Err(Failed {
                outcome: Outcome::Failed(kind),
                // Another wait for a lock, or for a statement, is the worst that a part can come to.
                retry: is_divisible.then_some(if error.code() == Some(&SqlState::QUERY_CANCELED) {
                    self.statement_timeout
                } else {
                    self.lock_timeout
                }),
            }),
            WriteEffect::Unclear if was_refused(&error) => Err(internal()),
            WriteEffect::Unclear => {
                self.open = None;
                Err(unconfirmed())
            }
        }
    }
}

/// The server has refused the statement and goes on.
fn was_refused(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}

/// Nobody can say what has become of it.
fn internal() -> Failed {
    Failed {
        outcome: Outcome::Failed(FailureKind::Internal),
        retry: None,
    }
}

fn unconfirmed() -> Failed {
    Failed {
        outcome: Outcome::Failed(FailureKind::Unconfirmed),
        retry: None,
    }
}

pub(super) fn unsent() -> Failed {
    Failed {
        outcome: Outcome::Failed(FailureKind::QueueUnavailable),
        retry: None,
    }
}
