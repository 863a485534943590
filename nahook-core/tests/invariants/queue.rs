//! A queue that knows what it holds, whatever it says of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_core::{
    Caller, Delivery, DeliveryId, DeliveryPublisher, EndpointId, Event, EventTypeName, FailureKind,
    FanOutScope,
};
use tokio::time::{Instant, sleep_until};

use crate::case::{Ending, QueueScript, Said};

/// What the queue holds of one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) delivery: DeliveryId,
    pub(crate) endpoint: EndpointId,
    pub(crate) event: Arc<Event>,
}

/// What has happened behind the ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) checked: Vec<Caller>,
    pub(crate) looked_up: Vec<(EventTypeName, FanOutScope)>,
    pub(crate) publishes: usize,
    pub(crate) held: Vec<Held>,
}

/// Plays a [`QueueScript`].
pub(crate) struct ScriptedPublisher {
    pub(crate) script: QueueScript,
    pub(crate) truth: Arc<Mutex<Truth>>,
}

/// One thing that happens to the delivery with that index.
#[derive(Clone, Copy)]
enum Deed {
    Take(usize),
    Say(usize),
}

impl QueueScript {
    /// When everything is done that the script has to do before it ends.
    pub(crate) fn work_ends(&self) -> u64 {
        let ends = self.fates.iter().map(|fate| fate.said_at);
        ends.max().unwrap_or(0)
    }

    /// Everything that happens, in order. What happens at the same time happens in an order of its own, so that
    /// deliveries are not resolved in the order of their slots.
    fn deeds(&self) -> Vec<(u64, Deed)> {
        let mut deeds = Vec::with_capacity(self.fates.len() * 2);
        for (at, fate) in self.fates.iter().enumerate() {
            if fate.taken {
                deeds.push((fate.taken_at, Deed::Take(at)));
            }
            deeds.push((fate.said_at, Deed::Say(at)));
        }
        // A delivery is taken before that is said, also within a millisecond.
        let scrambled = |at: usize| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
        deeds.sort_by_key(|(time, deed)| match deed {
            Deed::Take(at) => (*time, 0, scrambled(*at)),
            Deed::Say(at) => (*time, 1, scrambled(*at)),
        });
        deeds
    }
}

impl ScriptedPublisher {
    fn take(&self, event: &Arc<Event>, delivery: &Delivery) {
        self.truth.lock().unwrap().held.push(Held {
            delivery: delivery.id(),
            endpoint: delivery.endpoint(),
            event: Arc::clone(event),
        });
    }

    fn say(&self, at: usize, delivery: &mut Delivery) {
        match self.script.fates[at].said {
            Said::Published => delivery.published(),
            Said::Failed(kind) => delivery.failed(kind),
            Said::Nothing => {}
        }
    }

    async fn one_by_one(&self, began: Instant, event: &Arc<Event>, deliveries: &mut [Delivery]) {
        for (time, deed) in self.script.deeds() {
            self.wait(began, time).await;
            match deed {
                Deed::Take(at) => self.take(event, &deliveries[at]),
                Deed::Say(at) => self.say(at, &mut deliveries[at]),
            }
        }
        self.end(began).await;
    }

    async fn all_or_nothing(
        &self,
        began: Instant,
        event: &Arc<Event>,
        deliveries: &mut [Delivery],
    ) {
        let transaction = Transaction {
            deliveries,
            is_open: true,
        };
        self.wait(began, self.script.work_ends()).await;
        self.end(began).await;
        transaction.commit(|at, delivery| {
            if self.script.fates[at].taken {
                self.take(event, delivery);
            }
            self.say(at, delivery);
        });
    }

    /// Waits until then, or panics on the way if the script says so.
    async fn wait(&self, began: Instant, until: u64) {
        if let Ending::Panic(at) = self.script.ending
            && at < until
        {
            wait_until(began, at).await;
            panic!("planned");
        }
        wait_until(began, until).await;
    }

    async fn end(&self, began: Instant) {
        match self.script.ending {
            Ending::Return => {}
            Ending::Silence => std::future::pending().await,
            Ending::Panic(at) => {
                wait_until(began, at).await;
                panic!("planned");
            }
        }
    }
}

impl DeliveryPublisher for ScriptedPublisher {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let began = Instant::now();
        self.truth.lock().unwrap().publishes += 1;
        // Each delivery is held with its event; the payload inside is the event's own.
        let event = Arc::new(event.clone());
        if self.script.is_transaction {
            self.all_or_nothing(began, &event, deliveries).await;
        } else {
            self.one_by_one(began, &event, deliveries).await;
        }
    }
}

/// Rolls back when it is dropped before it was committed.
struct Transaction<'a> {
    deliveries: &'a mut [Delivery],
    is_open: bool,
}

impl Transaction<'_> {
    fn commit(mut self, mut each: impl FnMut(usize, &mut Delivery)) {
        for (at, delivery) in self.deliveries.iter_mut().enumerate() {
            each(at, delivery);
        }
        self.is_open = false;
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            for delivery in &mut *self.deliveries {
                delivery.failed(FailureKind::QueueUnavailable);
            }
        }
    }
}

async fn wait_until(began: Instant, after: u64) {
    let until = began + Duration::from_millis(after);
    // One timer for everything that happens at the same time.
    if Instant::now() < until {
        sleep_until(until).await;
    }
}
