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
    use nahook_core::Timestamp;
    use nahook_testkit::declare::{deliveries, endpoint_id, event};

    use super::*;
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
        assert_eq!(first_group(5, 3), 5);
    }
}
