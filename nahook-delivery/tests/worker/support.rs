//! A worker over the in-memory back end, endpoints that behave as a test says, and a clock that follows tokio's.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use nahook_control::{
    ApplyMode, Catalog, EndpointDirectory, EndpointSpec, EndpointTarget, Manifest, WorkspaceSpec,
};
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, EventTypeName, IdSource, Metadata, NewEvent,
    Payload, RandomIds,
};
use nahook_delivery::{
    OutboundRequest, OutboundResponse, RetryAfter, Transport, TransportError, Worker, WorkerReport,
    WorkerSettings,
};
use nahook_memory::MemoryStore;
use nahook_queue::{AttemptRecord, DeliveryLog, DeliveryQueue, DeliveryRecord, DeliveryStatus};
use nahook_testkit::TokioClock;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

/// Reaction of an endpoint to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Answer(u16),
    AnswerAfter(Duration, u16),
    /// The same, and each wait begins when the one before it is over.
    AnswerInSteps([Duration; 2], u16),
    AskToRetry(u16, RetryAfter),
    Break(TransportError),
    /// Nothing comes for 15 s, then the transport gives up.
    Hang,
    /// Nothing ever comes.
    HangForEver,
    Panic,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Arrival {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

type Script = Box<dyn Fn(usize) -> Act + Send + Sync>;

/// A transport whose endpoints act by script: a function of how many requests the URL has had.
pub(crate) struct Scripted {
    pub(crate) started: Instant,
    scripts: Mutex<HashMap<String, Script>>,
    arrivals: Mutex<Vec<Arrival>>,
    running: Mutex<HashMap<String, usize>>,
    /// Two attempts of one delivery ran side by side.
    pub(crate) overlaps: Mutex<usize>,
}

/// Counts a request as running until dropped.
struct Running<'a>(&'a Scripted, String);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0.running.lock().unwrap().get_mut(&self.1) {
            *count -= 1;
        }
    }
}

impl Scripted {
    fn begin(&self, request: &OutboundRequest) -> (Act, Running<'_>) {
        let url = request.url.as_uri().to_string();
        let mut arrivals = self.arrivals.lock().unwrap();
        let nth = arrivals.iter().filter(|arrival| arrival.url == url).count();
        arrivals.push(Arrival {
            at: self.started.elapsed(),
            url: url.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        });
        let delivery = request.headers["nahook-delivery-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let mut running = self.running.lock().unwrap();
        let count = running.entry(delivery.clone()).or_default();
        *count += 1;
        if *count > 1 {
            *self.overlaps.lock().unwrap() += 1;
        }
        let scripts = self.scripts.lock().unwrap();
        let act = scripts
            .get(&url)
            .map_or(Act::Answer(200), |script| script(nth));
        (act, Running(self, delivery))
    }
}

impl Transport for Scripted {
    async fn post(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        let (act, _running) = self.begin(&request);
        let answer = |status| OutboundResponse {
            status,
            retry_after: None,
            body: Bytes::new(),
        };
        match act {
            Act::Answer(status) => Ok(answer(status)),
            Act::AnswerAfter(wait, status) => {
                sleep(wait).await;
                Ok(answer(status))
            }
            Act::AnswerInSteps(waits, status) => {
                for wait in waits {
                    sleep(wait).await;
                }
                Ok(answer(status))
            }
            Act::AskToRetry(status, wish) => Ok(OutboundResponse {
                status,
                retry_after: Some(wish),
                body: Bytes::new(),
            }),
            Act::Break(error) => Err(error),
            Act::Hang => {
                sleep(Duration::from_secs(15)).await;
                Err(TransportError::Closed)
            }
            Act::HangForEver => pending().await,
            Act::Panic => panic!("a planted panic"),
        }
    }
}

/// The back end, the endpoints and the clock of a test.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) store: MemoryStore,
    pub(crate) transport: Arc<Scripted>,
    pub(crate) clock: TokioClock,
}

/// A worker at work.
pub(crate) struct AtWork {
    stop: oneshot::Sender<()>,
    worker: JoinHandle<WorkerReport>,
}

impl AtWork {
    /// Tells the worker to stop and waits until it has.
    pub(crate) async fn stop(self) -> WorkerReport {
        let _ = self.stop.send(());
        self.worker.await.unwrap()
    }

    /// Ends the worker as a crash would.
    pub(crate) async fn crash(self) {
        self.worker.abort();
        let _ = self.worker.await;
    }
}

impl Rig {
    /// A back end with these endpoints, all active, at `http://<id>.test/`.
    pub(crate) async fn new(endpoints: &[&str]) -> Self {
        let clock = TokioClock::default();
        let ids: Arc<dyn IdSource> = Arc::new(RandomIds);
        let rig = Self {
            store: MemoryStore::new(Arc::new(clock), ids),
            transport: Arc::new(Scripted {
                started: Instant::now(),
                scripts: Mutex::default(),
                arrivals: Mutex::default(),
                running: Mutex::default(),
                overlaps: Mutex::default(),
            }),
            clock,
        };
        let specs = endpoints.iter().map(|id| EndpointSpec {
            id: Some(EndpointId::new(id).unwrap()),
            url: url(id),
            secret: Some(SECRET.to_owned()),
            ..EndpointSpec::default()
        });
        rig.apply(specs.collect()).await;
        rig
    }

    pub(crate) async fn apply(&self, endpoints: Vec<EndpointSpec>) {
        let workspace = WorkspaceSpec {
            id: Some(workspace()),
            name: "acme".to_owned(),
            endpoints,
            ..WorkspaceSpec::default()
        };
        let manifest = Manifest::from(workspace);
        self.store
            .apply(&manifest, ApplyMode::Commit)
            .await
            .unwrap();
    }

    /// Makes an endpoint act by `script`.
    pub(crate) fn script(
        &self,
        endpoint: &str,
        script: impl Fn(usize) -> Act + Send + Sync + 'static,
    ) {
        self.script_url(&url(endpoint), script);
    }

    /// Makes what is at a URL act by `script`.
    pub(crate) fn script_url(
        &self,
        url: &str,
        script: impl Fn(usize) -> Act + Send + Sync + 'static,
    ) {
        let mut scripts = self.transport.scripts.lock().unwrap();
        scripts.insert(url.to_owned(), Box::new(script));
    }

    /// Makes an endpoint act the same way each time.
    pub(crate) fn always(&self, endpoint: &str, act: Act) {
        self.script(endpoint, move |_| act);
    }

    /// Makes an endpoint act so the first time, and take what comes later.
    pub(crate) fn at_first(&self, endpoint: &str, act: Act) {
        self.script(endpoint, move |nth| match nth {
            0 => act,
            _ => Act::Answer(200),
        });
    }

    /// Queues one event for these endpoints.
    pub(crate) async fn publish(&self, endpoints: &[&str]) -> Vec<DeliveryId> {
        let now = self.clock.now();
        let message = MessageId::from_parts(now, RandomIds.random());
        let event = Event::new(
            NewEvent {
                event_type: EventTypeName::new("order.paid").unwrap(),
                payload: payload(),
                metadata: Metadata::default(),
            },
            message,
            EventTypeId::new("evt_1").unwrap(),
            workspace(),
            now,
        );
        let mut deliveries: Vec<_> = (0..)
            .zip(endpoints)
            .map(|(nth, id)| Delivery::new(message, nth, EndpointId::new(id).unwrap()))
            .collect();
        self.store.publish(&event, &mut deliveries).await;
        assert!(deliveries.iter().all(Delivery::may_be_queued));
        deliveries.iter().map(Delivery::id).collect()
    }

    pub(crate) fn start(&self, settings: WorkerSettings) -> AtWork {
        self.start_over(self.store.clone(), self.store.clone(), settings)
    }

    /// Starts a worker over a queue and a directory that stand before the back end.
    pub(crate) fn start_over(
        &self,
        queue: impl DeliveryQueue + 'static,
        directory: impl EndpointDirectory + 'static,
        settings: WorkerSettings,
    ) -> AtWork {
        let worker = Worker::new(queue, directory, Arc::clone(&self.transport))
            .with_clock(self.clock)
            .with_settings(settings);
        let (stop, stopped) = oneshot::channel();
        let worker = tokio::spawn(worker.run(async {
            let _ = stopped.await;
        }));
        AtWork { stop, worker }
    }

    pub(crate) async fn record(&self, id: DeliveryId) -> DeliveryRecord {
        let record = self.store.delivery(id, &workspace()).await.unwrap();
        record.unwrap()
    }

    pub(crate) async fn status(&self, id: DeliveryId) -> DeliveryStatus {
        self.record(id).await.status
    }

    pub(crate) async fn attempts(&self, id: DeliveryId) -> Vec<AttemptRecord> {
        let attempts = self.store.attempts(id, &workspace()).await.unwrap();
        attempts.unwrap()
    }

    pub(crate) async fn target(&self, endpoint: &str) -> Arc<EndpointTarget> {
        let ids = [EndpointId::new(endpoint).unwrap()];
        let target = self.store.targets(&ids).await.unwrap().remove(0);
        target.unwrap()
    }

    /// Every request so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.transport.arrivals.lock().unwrap().clone()
    }

    /// The requests that an endpoint has had so far.
    pub(crate) fn arrivals_at(&self, endpoint: &str) -> Vec<Arrival> {
        let url = url(endpoint);
        let mut arrivals = self.arrivals();
        arrivals.retain(|arrival| arrival.url == url);
        arrivals
    }

    /// Waits until all of these have that status.
    pub(crate) async fn until(&self, ids: &[DeliveryId], status: DeliveryStatus) {
        let begun = Instant::now();
        for id in ids {
            while self.status(*id).await != status {
                let waited = begun.elapsed();
                let bound = Duration::from_hours(24 * 30);
                assert!(waited < bound, "{id} never became {status:?}");
                sleep(Duration::from_millis(100).max(waited / 50)).await;
            }
        }
    }

    /// Returns the number of requests being answered.
    pub(crate) fn running(&self) -> usize {
        self.transport.running.lock().unwrap().values().sum()
    }

    pub(crate) fn overlaps(&self) -> usize {
        *self.transport.overlaps.lock().unwrap()
    }
}

pub(crate) fn url(endpoint: &str) -> String {
    // A host's name has no underscores.
    format!("http://{}.test/", endpoint.replace('_', "-"))
}

pub(crate) fn workspace() -> WorkspaceId {
    WorkspaceId::new("ws_1").unwrap()
}

pub(crate) fn payload() -> Payload {
    Payload::new(Bytes::from_static(b"{ \"order\" : 1.0e+02 }")).unwrap()
}
