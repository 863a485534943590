//! What the tests share: servers of their own, a line to them that can be cut, and a reader that is not the crate's.
#![allow(dead_code, reason = "each test binary uses its part of it")]

pub(crate) mod proxy;
pub(crate) mod reader;
pub(crate) mod servers;

use std::time::Duration;

use nahook_core::{Clock, Delivery, DeliveryPublisher, Event, Manifest, Outcome, Timestamp};
use nahook_nats::{Nats, NatsPublisher, NatsSettings, connect};
use nahook_testkit::declare::{deliveries, event, nth_endpoint_id};
use nahook_testkit::{HeldDelivery, ManualClock, PublisherHarness};

use self::proxy::Proxy;
use self::servers::{BackEnd, Servers};

/// Connects with these settings, waiting for a cluster that is not ready yet.
pub(crate) async fn connected(url: &str, settings: NatsSettings) -> Nats {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match connect(url, settings.clone()).await {
            Ok(nats) => return nats,
            Err(error) if tokio::time::Instant::now() > deadline => {
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

/// An event with this number, accepted now, and its unresolved slots.
pub(crate) fn order(number: u64, endpoints: usize, now: Timestamp) -> (Event, Vec<Delivery>) {
    let ids: Vec<_> = (0..endpoints).map(nth_endpoint_id).collect();
    let event = event("ws_shop", "order.paid", number, now);
    let slots = deliveries(&event, &ids);
    (event, slots)
}

/// Publishes such an event, and answers what became of it.
pub(crate) async fn publish(nats: &Nats, number: u64, endpoints: usize) -> Vec<Delivery> {
    let (event, mut slots) = order(number, endpoints, ManualClock::default().now());
    nats.publisher.publish(&event, &mut slots).await;
    slots
}

/// What became of the slots, in short.
pub(crate) fn outcomes(deliveries: &[Delivery]) -> Vec<&'static str> {
    deliveries
        .iter()
        .map(|delivery| match delivery.outcome() {
            Outcome::Published => "published",
            Outcome::Failed(kind) => kind.code(),
        })
        .collect()
}
