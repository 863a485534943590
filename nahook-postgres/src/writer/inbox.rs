//! Queue of jobs for the writers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Job;

/// A group is closed at this many calls …
const JOBS_MAX: usize = 128;

/// … or at this many deliveries, so that nobody waits long for others' work.
const DELIVERIES_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<QueuedJobs>,
    changed: Notify,
    /// Number of writers that have a connection.
    connected: AtomicUsize,
}

/// A writer's connection, as long as it has one.
#[derive(Debug)]
pub(super) struct Connected(Arc<Inbox>);

impl Connected {
    pub(super) fn to(inbox: &Arc<Inbox>) -> Self {
        inbox.connected.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inbox))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct QueuedJobs {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Inbox {
    pub(super) fn put(&self, job: Job) {
        let mut waiting = self.waiting();
        if !waiting.is_closed {
            waiting.jobs.push_back(job);
            drop(waiting);
            self.changed.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for something to do; false if there never will be.
    pub(super) async fn has_jobs(&self) -> bool {
        loop {
            {
                let waiting = self.waiting();
                if !waiting.jobs.is_empty() {
                    return true;
                }
                if waiting.is_closed {
                    // One after the other hears of it.
                    self.changed.notify_one();
                    return false;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Takes a group of those that are still wanted.
    pub(super) fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting();
        let (mut jobs, mut deliveries) = (Vec::new(), 0);
        while jobs.len() < JOBS_MAX
            && deliveries < DELIVERIES_MAX
            && let Some(job) = waiting.jobs.pop_front()
        {
            if job.take() {
                deliveries += job.width();
                jobs.push(job);
            }
        }
        if !waiting.jobs.is_empty() {
            // The rest is for whoever is free next.
            self.changed.notify_one();
        }
        jobs
    }

    /// Returns true if another writer may do what the caller cannot.
    pub(super) fn has_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed) > 0
    }

    /// Wakes another writer in the caller's place.
    pub(super) fn pass_on(&self) {
        self.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, QueuedJobs> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use nahook_core::Timestamp;
    use nahook_testkit::declare::{deliveries, endpoint_id, event};
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::PgError;
    use crate::writer::PublishJob;

    /// The number of jobs that are taken first, of so many with so many deliveries each.
    fn first_group(jobs: u64, width: usize) -> usize {
        let inbox = Inbox::default();
        for number in 0..jobs {
            let event = event("ws_a", "order.paid", number, Timestamp::default());
            let mut slots = deliveries(&event, &vec![endpoint_id("ep_1"); width]);
            let (job, submission) = PublishJob::new(&event, &mut slots);
            // Whoever waits is not to be seen to have gone.
            std::mem::forget(submission);
            inbox.put(Job::Publish(job));
        }
        inbox.take().len()
    }

    #[test]
    fn groups_have_their_bounds() {
        assert_eq!(first_group(200, 1), 128);
        assert_eq!(first_group(5, 30_000), 3, "the third brings it to 65,536");
        assert_eq!(first_group(5, 32_768), 2, "no more than 65,536");
        assert_eq!(first_group(5, 3), 5);
    }

    /// A job, and whoever waits for its answer.
    fn check() -> (Job, oneshot::Receiver<Result<(), Arc<PgError>>>) {
        let (answer, answered) = oneshot::channel();
        (Job::Check(answer), answered)
    }

    #[tokio::test]
    async fn rest_of_a_group_wakes_another_writer() {
        let inbox = Inbox::default();
        let mut answered = Vec::new();
        for _ in 0..129 {
            let (job, of_job) = check();
            inbox.put(job);
            answered.push(of_job);
        }
        assert!(inbox.has_jobs().await);
        // However many were put, one writer was woken so far.
        inbox.changed.notified().await;
        assert_eq!(inbox.take().len(), 128);
        assert!(inbox.changed.notified().now_or_never().is_some());
        assert_eq!(inbox.take().len(), 1);
        assert!(inbox.changed.notified().now_or_never().is_none());
        inbox.pass_on();
        assert!(inbox.changed.notified().now_or_never().is_some());
    }

    #[test]
    fn job_that_nobody_waits_for_is_not_taken() {
        let inbox = Inbox::default();
        let (wanted, _answered) = check();
        inbox.put(check().0);
        inbox.put(wanted);
        assert_eq!(inbox.take().len(), 1);
    }

    #[tokio::test]
    async fn closed_inbox_is_emptied_and_every_writer_hears_of_it() {
        let inbox = Inbox::default();
        inbox.put(check().0);
        inbox.close();
        inbox.put(check().0);
        assert!(inbox.has_jobs().await);
        assert_eq!(inbox.waiting().jobs.len(), 1, "what came after is dropped");
        inbox.take();
        for _writer in 0..3 {
            assert!(!inbox.has_jobs().await);
        }
    }

    #[test]
    fn writers_with_a_connection_are_counted() {
        let inbox = Arc::new(Inbox::default());
        assert!(!inbox.has_connected());
        let (one, other) = (Connected::to(&inbox), Connected::to(&inbox));
        drop(one);
        assert!(inbox.has_connected());
        drop(other);
        assert!(!inbox.has_connected());
    }
}
