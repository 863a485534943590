//! One statement for all who arrived while the last one ran; smaller ones where it fails.

mod keyed;
mod lone;
mod together;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use nahook_core::id::EndpointId;
use nahook_core::{Causes, Clock, FailureKind, Outcome};
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;
use tokio_postgres::error::{Severity, SqlState};

use self::keyed::PUBLISH_KEYED;
pub(crate) use self::keyed::over_before;
use self::lone::PUBLISH_LONE;
use self::together::PUBLISH;
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

/// Writes a part of an event's deliveries, of which others may be there already; answers endpoint by endpoint whether it
/// exists.
const PUBLISH_PART: &str = "SELECT publish($1, $2, $3, $4, $5, $6, $7, $8, $9)";

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
    pub(super) open: Option<Open>,
}

pub(super) struct Open {
    pub(super) link: Link,
    pub(super) publish: Prepared<'static>,
    pub(super) publish_lone: Prepared<'static>,
    publish_part: Prepared<'static>,
    pub(super) publish_keyed: Prepared<'static>,
    _connected: Connected,
}

/// Why a statement did not write.
#[derive(Clone, Copy)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// Timeout of a part of it, if it is worth trying the parts.
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
            let publish_lone = link.prepare(PUBLISH_LONE).await?;
            let publish_part = link.prepare(PUBLISH_PART).await?;
            let publish_keyed = link.prepare(PUBLISH_KEYED).await?;
            Ok::<_, PgError>((publish, publish_lone, publish_part, publish_keyed))
        };
        let (publish, publish_lone, publish_part, publish_keyed) =
            timeout(self.statement_timeout + GRACE, preparing)
                .await
                .map_err(|_| PgError::NoConnection)??;
        self.open = Some(Open {
            link,
            publish,
            publish_lone,
            publish_part,
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
            self.signals.queue_has_changed();
        }
        for answer in checks {
            let _ = answer.send(self.check().await.map_err(Arc::new));
        }
    }

    /// Runs the statement that publishes, for nothing.
    async fn check(&mut self) -> Result<(), PgError> {
        let open = self.open.as_ref().ok_or(PgError::NoConnection)?;
        let asked = timeout(self.statement_timeout + GRACE, open.publish_all(&[]));
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
        let outcome = match jobs.as_slice() {
            [job] => self.write_lone(job).await,
            jobs => self.write_together(jobs).await,
        };
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        histogram!(metric::PUBLISH_GROUP).record(jobs.len() as f64);
        match outcome {
            Ok(left_out) => self.answer(jobs, &left_out, started).await,
            Err(Failed {
                outcome,
                retry: None,
            }) => {
                for job in jobs {
                    job.answer(Written::all(outcome));
                }
            }
            Err(Failed {
                outcome,
                retry: Some(patience),
            }) => {
                let failed = Failed {
                    outcome,
                    retry: Some(patience),
                };
                for job in jobs {
                    self.write_alone(job, &failed, started).await;
                }
            }
        }
    }

    /// Answers jobs that were written, but for deliveries at these places among all of them.
    async fn answer(&mut self, jobs: Vec<PublishJob>, left_out: &HashSet<i32>, started: Instant) {
        let mut place = 0;
        for job in jobs {
            if left_out.is_empty() {
                job.answer(Written::all(Outcome::Published));
                continue;
            }
            let gone: Vec<_> = job
                .slots
                .iter()
                .filter(|_| {
                    place += 1;
                    left_out.contains(&place)
                })
                .map(|slot| (slot.2, Outcome::Failed(FailureKind::EndpointGone)))
                .collect();
            if gone.len() == job.slots.len() && !gone.is_empty() {
                // Not a single one: then it may be the event type that is gone.
                self.write_alone(job, &untried(self.lock_timeout), started)
                    .await;
            } else {
                job.answer(Written {
                    usual: Outcome::Published,
                    others: gone,
                });
            }
        }
    }

    /// Writes one job by itself, and in ever smaller parts where that fails, as long as there is time to wait for what
    /// it has failed with before.
    async fn write_alone(&mut self, job: PublishJob, before: &Failed, started: Instant) {
        let mut others = Vec::new();
        let mut parts = vec![(0, job.slots.len())];
        let mut before = *before;
        while let Some(part) = parts.pop() {
            let slots = &job.slots[part.0..part.1];
            let patience = before.retry.unwrap_or_default();
            if started.elapsed() + patience > BUDGET {
                others.extend(slots.iter().map(|slot| (slot.2, before.outcome)));
                continue;
            }
            let Failed { outcome, retry } = match self.write_part(&job, slots).await {
                Ok(taken) => {
                    let gone = slots.iter().zip(taken).filter(|(_, taken)| !taken);
                    others.extend(
                        gone.map(|(slot, _)| (slot.2, Outcome::Failed(FailureKind::EndpointGone))),
                    );
                    continue;
                }
                Err(failed) => failed,
            };
            if retry.is_some() && slots.len() > 1 {
                before = Failed { outcome, retry };
                let middle = part.0 + slots.len() / 2;
                parts.push((middle, part.1));
                parts.push((part.0, middle));
            } else {
                others.extend(slots.iter().map(|slot| (slot.2, outcome)));
            }
        }
        job.answer(Written {
            usual: Outcome::Published,
            others,
        });
    }

    async fn write_part(
        &mut self,
        job: &PublishJob,
        slots: &[(i32, EndpointId, usize)],
    ) -> Result<Vec<bool>, Failed> {
        let ordinals: Vec<_> = slots.iter().map(|slot| slot.0).collect();
        let endpoints: Vec<_> = slots.iter().map(|slot| slot.1.as_str()).collect();
        let event = &job.event;
        let Some(open) = self
            .open
            .as_ref()
            .filter(|open| !open.link.client.is_closed())
        else {
            return Err(unsent());
        };
        let (id, accepted_at) = (Bits(event.id.as_bits()), nanos(event.accepted_at));
        let (workspace, payload) = (event.workspace.as_str(), &event.payload.as_bytes()[..]);
        let (event_type, name) = (job.event_type(), job.event_type_name());
        let parameters: [&dyn Parameter; 9] = [
            &id,
            &workspace,
            &event_type,
            &name,
            &accepted_at,
            &job.metadata,
            &payload,
            &ordinals,
            &endpoints,
        ];
        let asked = open.link.query(&open.publish_part, &parameters);
        let rows = self.concluded(timeout(self.statement_timeout + GRACE, asked).await)?;
        let taken = rows.first().and_then(|row| row.try_get(0).ok());
        taken.ok_or(Failed {
            outcome: Outcome::Failed(FailureKind::Internal),
            retry: None,
        })
    }

    /// Returns the result of a statement, and gives up a connection that may be lost.
    pub(super) fn concluded<T>(
        &mut self,
        answered: Result<Result<T, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failed> {
        let error = match answered {
            Ok(Ok(answer)) => return Ok(answer),
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
            WriteEffect::Unclear if was_refused(&error) => Err(Failed {
                outcome: Outcome::Failed(FailureKind::Internal),
                retry: None,
            }),
            WriteEffect::Unclear => {
                self.open = None;
                Err(unconfirmed())
            }
        }
    }
}

/// The numbers that a statement has answered with.
pub(super) fn places(rows: &[Row]) -> Result<HashSet<i32>, Failed> {
    rows.iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()
        // It was written, which of it cannot be said.
        .map_err(|_| Failed {
            outcome: Outcome::Failed(FailureKind::Internal),
            retry: None,
        })
}

/// The server has refused the statement and goes on.
fn was_refused(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}

/// Nothing has failed so far.
fn untried(patience: Duration) -> Failed {
    Failed {
        retry: Some(patience),
        ..unsent()
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
