//! The tasks that publish: what arrives together is written by one statement.

mod direct;
mod direct_job;
mod group;
mod inbox;
mod job;
mod lone;
mod together;

use std::sync::Arc;

use tokio::task::JoinHandle;

pub(crate) use self::direct::over_before;
pub(crate) use self::direct_job::DirectJob;
use self::group::Session;
use self::inbox::Inbox;
pub(crate) use self::job::{PublishJob, Written, metadata};
use crate::PostgresSettings;
use crate::connection::Connector;
use crate::listener::Signals;

/// A handle to the tasks.
#[derive(Debug)]
pub(crate) struct Writer {
    inbox: Arc<Inbox>,
}

impl Writer {
    /// Starts the tasks.
    pub(crate) fn start(
        connector: &Connector,
        settings: &PostgresSettings,
        signals: &Arc<Signals>,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let inbox = Arc::<Inbox>::default();
        let work = |_| {
            let session = Session::new(connector.clone(), settings, Arc::clone(signals));
            tokio::spawn(work(session, Arc::clone(&inbox)))
        };
        let tasks = (0..settings.writers.max(1)).map(work).collect();
        (Self { inbox }, tasks)
    }

    /// Hands a job over. After closing it is dropped, and whoever waits for it is told by that.
    pub(crate) fn send(&self, job: PublishJob) {
        self.inbox.put(Job::Publish(job));
    }

    /// Likewise.
    pub(crate) fn send_direct(&self, job: DirectJob) {
        self.inbox.put(Job::Direct(job));
    }

    /// Ends the tasks once everything that was handed over is written.
    pub(crate) fn close(&self) {
        self.inbox.close();
    }
}

/// What a writer is asked to do.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and is not worth an allocation"
)]
enum Job {
    Direct(DirectJob),
    Publish(PublishJob),
}

impl Job {
    /// Takes the job on; false if nobody wants it any more.
    fn take(&self) -> bool {
        match self {
            Self::Direct(job) => job.take(),
            Self::Publish(job) => job.take(),
        }
    }

    /// How many deliveries it writes.
    fn width(&self) -> usize {
        match self {
            Self::Direct(job) => job.slots.len(),
            Self::Publish(job) => job.slots.len(),
        }
    }

    /// Nothing of it was sent to the server.
    fn refuse(self) {
        match self {
            Self::Direct(job) => job.refuse(),
            Self::Publish(job) => job.refuse(),
        }
    }
}

async fn work(mut session: Session, inbox: Arc<Inbox>) {
    while inbox.has_jobs().await {
        // Before jobs are taken: while this waits for a connection, whoever gives up has been promised nothing.
        let connected = session.connect().await;
        let jobs = inbox.take();
        match connected {
            Ok(()) => session.write(jobs).await,
            Err(error) => {
                tracing::warn!(%error, "cannot publish");
                for job in jobs {
                    job.refuse();
                }
            }
        }
    }
}
