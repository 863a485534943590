//! Shared by the tests: servers of their own, a line to them that can be cut, and a reader that is not the crate's.

pub(crate) mod proxy;
pub(crate) mod reader;
pub(crate) mod servers;

use std::time::Duration;

use nahook_control::Manifest;
use nahook_core::id::DeliveryId;
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, Outcome, StoreError, SystemClock, Timestamp,
};
use nahook_nats::{Nats, NatsPublisher, NatsQueue, NatsSettings, connect};
use nahook_queue::{
    Attempt, Backlog, DeliveryQueue, Lease, LeaseBatch, LeaseRequest, LeasedDelivery, Next,
    Settled, Settlement, WorkerId,
};
use nahook_testkit::declare::{deliveries, event, nth_endpoint_id};
use nahook_testkit::{HeldDelivery, ManualClock, PublisherHarness, QueueHarness};
use tokio::time::{Instant, timeout};

use self::proxy::Proxy;
use self::servers::{BackEnd, Servers};

/// Connects with these settings, waiting for a cluster that is not ready yet.
pub(crate) async fn connected(url: &str, settings: NatsSettings) -> Nats {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match connect(url, settings.clone()).await {
            Ok(nats) => return nats,
            Err(error) if Instant::now() > deadline => {
                panic!("no connection: {error:?}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The way to the queue of a server of its own, through a proxy.
pub(crate) struct PublishHarness<B> {
    servers: Servers<B>,
    proxy: Proxy,
    nats: Nats,
}

impl<B: BackEnd> PublishHarness<B> {
    async fn on(servers: Servers<B>) -> Self {
        let proxy = Proxy::to(&servers.url()).await;
        let url = if B::IS_CLUSTER {
            servers.url()
        } else {
            proxy.url.clone()
        };
        let nats = connected(&url, B::settings()).await;
        Self {
            servers,
            proxy,
            nats,
        }
    }
}

impl<B: BackEnd> PublisherHarness for PublishHarness<B> {
    type Publisher = NatsPublisher;

    async fn start() -> Self {
        Self::on(Servers::start()).await
    }

    fn publisher(&self) -> NatsPublisher {
        self.nats.publisher.clone()
    }

    async fn apply(&self, _: &Manifest) {}

    async fn held(&self) -> Vec<HeldDelivery> {
        reader::held(&self.servers.url(), "NAHOOK_DELIVERIES").await
    }

    async fn restart(self) -> Option<Self> {
        let Self { servers, nats, .. } = self;
        drop(nats);
        servers.restart();
        Some(Self::on(servers).await)
    }

    async fn make_unreachable(&self) -> bool {
        self.proxy.cut_off();
        // A cluster of which one server is out of reach is not.
        !B::IS_CLUSTER
    }
}

/// A queue of a server of its own, on a clock that stands still.
pub(crate) struct QueueOn<B> {
    servers: Servers<B>,
    nats: Nats,
    clock: ManualClock,
}

impl<B: BackEnd> QueueOn<B> {
    async fn on(servers: Servers<B>, clock: ManualClock) -> Self {
        let mut settings = B::settings().with_clock(clock.clone());
        settings.ack_wait = ACK_WAIT;
        // A busy machine takes its time with ten thousand records: the clause's own time-out is shorter than this.
        settings.answer_timeout = Duration::from_mins(5);
        let nats = connected(&servers.url(), settings).await;
        Self {
            servers,
            nats,
            clock,
        }
    }
}

impl<B: BackEnd> QueueHarness for QueueOn<B> {
    type Queue = CaughtUp;

    async fn start() -> Self {
        Self::on(Servers::start(), ManualClock::default()).await
    }

    fn queue(&self) -> CaughtUp {
        CaughtUp {
            queue: self.nats.queue.clone(),
            url: self.servers.url(),
        }
    }

    async fn apply(&self, _: &Manifest) {}

    async fn publish(&self, event: &Event, slots: &mut [Delivery]) {
        self.nats.publisher.publish(event, slots).await;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn restart(self) -> Option<Self> {
        let Self {
            servers,
            nats,
            clock,
        } = self;
        nats.close().await;
        drop(nats);
        servers.restart();
        let restarted = Self::on(servers, clock).await;
        // What was in hand is given out again when the server has waited for a sign of life in vain: it has forgotten that
        // it was given back.
        let _ = restarted.nats.queue.caught_up().await;
        tokio::time::sleep(2 * ACK_WAIT).await;
        Some(restarted)
    }
}

/// Time for which the servers of the queue's clauses wait for a sign of life.
const ACK_WAIT: Duration = Duration::from_secs(1);

/// A queue that is asked once everything has come from the server that it holds: the clauses want to see at once what
/// was published a moment ago.
///
/// The server's clock is ahead of the queue's, so it hands out retries soon, and this waits for that.
#[derive(Clone)]
pub(crate) struct CaughtUp {
    queue: NatsQueue,
    url: String,
}

#[async_trait::async_trait]
impl DeliveryQueue for CaughtUp {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        reader::wait_until_unscheduled(&self.url).await;
        self.queue.caught_up().await?;
        self.queue.lease(request).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        self.queue.extend(leases, duration).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        self.queue.settle(settlements).await
    }

    async fn changed(&self, generation: u64) {
        self.queue.changed(generation).await;
    }

    async fn backlog(&self, count_max: u64) -> Result<Backlog, StoreError> {
        self.queue.caught_up().await?;
        self.queue.backlog(count_max).await
    }
}

/// Number of rounds, from `NAHOOK_NATS_ROUNDS`: for faults that show in rare moments only.
pub(crate) fn rounds(default: usize) -> usize {
    let name = "NAHOOK_NATS_ROUNDS";
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// An event with this number, accepted now, and its unresolved slots.
pub(crate) fn order(number: u64, endpoints: usize, now: Timestamp) -> (Event, Vec<Delivery>) {
    let ids: Vec<_> = (0..endpoints).map(nth_endpoint_id).collect();
    let event = event("ws_shop", "order.paid", number, now);
    let slots = deliveries(&event, &ids);
    (event, slots)
}

/// Publishes such an event, and returns its slots.
pub(crate) async fn publish(nats: &Nats, number: u64, endpoints: usize) -> Vec<Delivery> {
    let (event, mut slots) = order(number, endpoints, SystemClock.now());
    nats.publisher.publish(&event, &mut slots).await;
    slots
}

/// Publishes an event for five endpoints as the engine does: dropped at the deadline, the slots kept.
pub(crate) async fn publish_within(nats: &Nats, number: u64, deadline: Duration) -> Vec<Delivery> {
    let (event, mut slots) = order(number, 5, SystemClock.now());
    let publishing = nats.publisher.publish(&event, &mut slots);
    let _ = timeout(deadline, publishing).await;
    slots
}

/// Publishes until a whole event is acknowledged, so that whatever was in a pipeline before has come out.
pub(crate) async fn publish_until_taken(nats: &Nats, first: u64) -> Vec<Delivery> {
    let mut all = Vec::new();
    for number in first..first + 50 {
        let slots = publish_within(nats, number, Duration::from_secs(3)).await;
        let is_taken = outcomes(&slots)
            .iter()
            .all(|outcome| *outcome == "published");
        all.extend(slots);
        if is_taken {
            return all;
        }
    }
    panic!("nothing is published any more: {:?}", outcomes(&all));
}

/// Outcomes of the slots, in short.
pub(crate) fn outcomes(deliveries: &[Delivery]) -> Vec<&'static str> {
    deliveries
        .iter()
        .map(|delivery| match delivery.outcome() {
            Outcome::Published => "published",
            Outcome::Replayed(_) => "replayed",
            Outcome::Failed(kind) => kind.code(),
        })
        .collect()
}

/// A request that is bounded by `max` alone.
pub(crate) fn request(worker: u64, max: usize) -> LeaseRequest {
    LeaseRequest {
        per_endpoint_max: 1_000_000,
        ..LeaseRequest::new(WorkerId(worker), max, Duration::from_mins(1))
    }
}

/// Leases until so many deliveries have come, or none have for so long.
pub(crate) async fn lease_some(
    queue: &NatsQueue,
    count: usize,
    patience: Duration,
) -> Vec<LeasedDelivery> {
    let mut leased = Vec::new();
    let mut deadline = Instant::now() + patience;
    while leased.len() < count && Instant::now() < deadline {
        let batch = queue
            .lease(&request(1, count - leased.len()))
            .await
            .unwrap();
        if batch.deliveries.is_empty() {
            // As a worker: at once when there is something, and by the time of a retry.
            let next = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                () = queue.changed(batch.generation) => {}
                () = next => {}
            }
        } else {
            leased.extend(batch.deliveries);
            deadline = Instant::now() + patience;
        }
    }
    leased
}

/// An attempt that a receiver has answered like this.
pub(crate) fn settlement(leased: &LeasedDelivery, next: Next) -> Settlement {
    Settlement {
        lease: leased.lease,
        attempt: Some(Attempt {
            started_at: SystemClock.now(),
            duration: Duration::from_millis(3),
            status_code: Some(200),
            error: None,
            response_body: None,
        }),
        next,
    }
}

/// Settles all of these, as often as it takes.
pub(crate) async fn settle(queue: &NatsQueue, leased: &[LeasedDelivery], next: Next) {
    let settlements: Vec<_> = leased
        .iter()
        .map(|leased| settlement(leased, next))
        .collect();
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = queue.settle(&settlements).await {
        assert!(
            Instant::now() < deadline,
            "settling goes on failing: {error:?}"
        );
    }
}

/// The ids, in order.
pub(crate) fn ids(leased: &[LeasedDelivery]) -> Vec<DeliveryId> {
    let mut ids: Vec<_> = leased.iter().map(|leased| leased.lease.delivery).collect();
    ids.sort();
    ids
}

/// The ids of the slots that are published, in order.
pub(crate) fn published(slots: &[Delivery]) -> Vec<DeliveryId> {
    let published = slots
        .iter()
        .filter(|slot| slot.outcome() == Outcome::Published);
    let mut ids: Vec<_> = published.map(Delivery::id).collect();
    ids.sort();
    ids
}
