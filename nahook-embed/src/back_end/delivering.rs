//! Delivering from the queues, and the delivery log of a queue that is not the store's.

use std::sync::Arc;

use nahook_delivery::{HttpTransport, Worker, WorkerSettings};
use nahook_queue::DeliveryQueue;
use nahook_supervision::Supervisor;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Backend;
use super::gate::Gated;
use super::watched::{LatestCalls, Watched};

impl Backend {
    /// From here on readiness knows what calls of this queue come to.
    pub(super) fn watch_queue(&mut self, queue: Arc<dyn DeliveryQueue>) -> Arc<dyn DeliveryQueue> {
        let latest_calls = LatestCalls::default();
        self.latest_calls.push(latest_calls.clone());
        Arc::new(Watched {
            inner: queue,
            latest_calls,
        })
    }

    /// The same for what is published.
    pub(super) fn watch_publisher(&mut self) {
        let latest_calls = LatestCalls::default();
        self.latest_calls.push(latest_calls.clone());
        // Outside of what is watched: waiting at the gate is no sign of a queue that does not answer.
        self.publisher = Arc::new(Gated {
            inner: Watched {
                inner: Arc::clone(&self.publisher),
                latest_calls,
            },
            gate: self.gate.clone(),
            tally: self.tally.clone(),
        });
    }

    /// The same for what each request looks up.
    pub(super) fn watch_look_ups(&mut self) {
        let latest_calls = LatestCalls::default();
        self.latest_calls.push(latest_calls.clone());
        self.keys = Arc::new(Watched {
            inner: Arc::clone(&self.keys),
            latest_calls: latest_calls.clone(),
        });
        self.subscriptions = Arc::new(Watched {
            inner: Arc::clone(&self.subscriptions),
            latest_calls,
        });
    }

    /// The queues that need a worker: where the queue is on NATS the store's own as well, in which waits what was queued before
    /// that, and what only a store's transaction can queue.
    pub fn queues(&self) -> Vec<Arc<dyn DeliveryQueue>> {
        let mut queues = vec![Arc::clone(&self.queue)];
        if self.has_queue_elsewhere() {
            queues.push(Arc::clone(&self.of_store));
        }
        queues
    }

    /// Returns true if the queue is not the store's.
    pub(super) fn has_queue_elsewhere(&self) -> bool {
        !Arc::ptr_eq(&self.queue, &self.of_store)
    }

    /// Delivers what waits in the queues, with at most so many connections, until `stop` says so. The workers run on `runtime`.
    pub fn deliver(
        &self,
        transport: &Arc<HttpTransport>,
        connections_max: usize,
        supervisor: &Supervisor,
        runtime: &Handle,
        stop: &watch::Sender<bool>,
    ) -> JoinHandle<()> {
        let queues = self.queues();
        let mut settings = WorkerSettings::default();
        let share = connections_max / queues.len().max(1);
        settings.in_flight_max = settings.in_flight_max.min(share);
        let mut workers = Vec::new();
        for queue in queues {
            let endpoints = Arc::clone(&self.endpoints);
            let worker = Worker::new(queue, endpoints, Arc::clone(transport));
            let worker = worker.with_settings(settings.clone());
            let worker = worker.with_events(self.events.clone());
            let worker = worker.with_lag(self.lag.clone());
            let worker = worker.with_tally(self.tally.clone());
            let stop = stop.subscribe();
            let stopping = move || stopped_by(stop.clone());
            workers.push(worker.supervise(supervisor, runtime, stopping));
        }
        tokio::spawn(async move {
            for worker in workers {
                // An error says that the runtime has ended it.
                let _ = worker.await;
            }
        })
    }

    /// Writes counts over time, and brings what happens on a queue that is not the store's into the store's log, until `stop`
    /// says so. What this process has accepted it tells in any case; `delivers` says whether it also brings there what workers
    /// tell, of whichever process.
    pub async fn keep_log(
        &self,
        delivers: bool,
        supervisor: &Supervisor,
        stop: watch::Receiver<bool>,
    ) {
        let attempted = async {
            if delivers {
                self.record_attempted(stop.clone()).await;
            }
        };
        tokio::join!(self.record_accepted(supervisor, stop.clone()), attempted);
    }

    /// The part of [`keep_log`](Self::keep_log) that every process needs: one call at a time.
    pub(crate) async fn record_accepted(
        &self,
        supervisor: &Supervisor,
        stop: watch::Receiver<bool>,
    ) {
        let counting = self.write_counts(supervisor, stop.clone());
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            let accepted = queue.record_accepted(&self.recorder, supervisor, stop);
            tokio::join!(counting, accepted);
            return;
        }
        counting.await;
    }

    /// The part of [`keep_log`](Self::keep_log) that goes with delivering: any number of calls at a time.
    pub(crate) async fn record_attempted(&self, stop: watch::Receiver<bool>) {
        #[cfg(not(feature = "nats"))]
        let _ = stop;
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            queue.record_attempted(&self.recorder, stop).await;
        }
    }
}

pub(super) async fn stopped_by(mut stop: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stop.wait_for(|stopped| *stopped).await;
}
