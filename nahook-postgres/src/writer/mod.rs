//! The tasks that publish: what arrives together is written by one statement.

mod group;
mod inbox;
mod job;

use std::sync::Arc;
use std::time::Duration;

use nahook_core::Causes;
use nahook_supervision::{Exit, Loop};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use self::group::over_before;
use self::group::{GRACE, WriterConnection};
use self::inbox::Inbox;
pub(crate) use self::job::{PublishJob, Written, metadata};
use crate::PostgresSettings;
use crate::connection::Connector;
use crate::error::PgError;
use crate::listener::Signals;

/// A handle to the tasks.
#[derive(Debug)]
pub(crate) struct Writer {
    inbox: Arc<Inbox>,
    patience: Duration,
}

impl Writer {
    /// Starts so many tasks.
    pub(crate) fn start(
        connector: &Connector,
        settings: &PostgresSettings,
        count: usize,
        signals: &Arc<Signals>,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let inbox = Arc::<Inbox>::default();
        let start = |_| {
            let (connector, settings) = (connector.clone(), settings.clone());
            let (signals, inbox) = (Arc::clone(signals), Arc::clone(&inbox));
            let supervisor = settings.supervisor.clone();
            supervisor.spawn(Loop::PostgresWriter, move || {
                let session =
                    WriterConnection::new(connector.clone(), &settings, Arc::clone(&signals));
                work(session, Arc::clone(&inbox))
            })
        };
        let tasks = (0..count).map(start).collect();
        let patience = settings.connect_timeout + settings.statement_timeout + GRACE;
        (Self { inbox, patience }, tasks)
    }

    /// Runs the statement that publishes, for nothing.
    pub(crate) async fn check(&self) -> Result<(), Arc<PgError>> {
        let (answer, answered) = oneshot::channel();
        self.inbox.put(Job::Check(answer));
        match timeout(self.patience, answered).await {
            Ok(Ok(checked)) => checked,
            // The writer has ended.
            Ok(Err(_)) => Err(Arc::new(PgError::Closed)),
            Err(_) => Err(Arc::new(PgError::NoConnection)),
        }
    }

    /// Hands a job over. After closing it is dropped, and whoever waits for it is told by that.
    pub(crate) fn send(&self, job: PublishJob) {
        self.inbox.put(Job::Publish(job));
    }

    /// Ends the tasks once everything that was handed over is written.
    pub(crate) fn close(&self) {
        self.inbox.close();
    }
}

/// Order to a writer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and is not worth an allocation"
)]
enum Job {
    Check(oneshot::Sender<Result<(), Arc<PgError>>>),
    Publish(PublishJob),
}

impl Job {
    /// Takes the job on; false if nobody wants it any more.
    fn take(&self) -> bool {
        match self {
            Self::Check(answer) => !answer.is_closed(),
            Self::Publish(job) => job.take(),
        }
    }

    /// Returns the number of deliveries that it writes.
    fn width(&self) -> usize {
        match self {
            Self::Check(_) => 0,
            Self::Publish(job) => job.slots.len(),
        }
    }

    /// Nothing of it was sent to the server, for this reason.
    fn refuse(self, reason: &Arc<PgError>) {
        match self {
            Self::Check(answer) => drop(answer.send(Err(Arc::clone(reason)))),
            Self::Publish(job) => job.refuse(),
        }
    }
}

/// Duration for which a writer without a connection leaves everything to the others.
const FULL_PAUSE: Duration = Duration::from_secs(1);

async fn work(mut session: WriterConnection, inbox: Arc<Inbox>) -> Exit {
    while inbox.has_jobs().await {
        // Before jobs are taken: while this waits for a connection, whoever gives up has been promised nothing.
        match session.connect(&inbox).await {
            Ok(()) => session.write(inbox.take()).await,
            Err(error) if error.is_full() && inbox.has_connected() => {
                inbox.pass_on();
                tracing::warn!(error = %Causes(&error), "a writer has no connection; others publish");
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "cannot publish");
                let error = Arc::new(error);
                for job in inbox.take() {
                    job.refuse(&error);
                }
            }
        }
    }
    Exit::Stopped
}
