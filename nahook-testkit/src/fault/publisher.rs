//! A publisher between which and its queue things go wrong.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind, Outcome};
use tokio::time::Instant;

use super::script::{Answer, FaultScript};
use crate::{HeldDelivery, RecordingPublisher};

/// Publishes with another publisher, as a [`FaultScript`] says. What the queue really holds is what the inner publisher
/// was given and took.
///
/// Time is tokio's, so that paused time makes it fast. With an [empty](FaultScript::is_empty) script every call is passed
/// on as it is. Deliveries with different delays reach the inner publisher in several calls, with the same event.
#[derive(Clone, Debug)]
pub struct FaultyPublisher<P> {
    inner: P,
    script: Arc<Mutex<Arc<FaultScript>>>,
}

impl FaultyPublisher<RecordingPublisher> {
    /// A publisher before a queue in memory.
    pub fn recording(script: FaultScript) -> Self {
        Self::new(RecordingPublisher::default(), script)
    }

    /// Returns what the queue truly holds, in the order in which it was taken.
    pub fn held(&self) -> Vec<HeldDelivery> {
        self.inner.held()
    }
}

impl<P> FaultyPublisher<P> {
    /// A publisher before `inner`.
    pub fn new(inner: P, script: FaultScript) -> Self {
        Self {
            inner,
            script: Arc::new(Mutex::new(Arc::new(script))),
        }
    }

    /// The publisher behind the faults.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// Uses another script from the next publication on.
    pub fn set_script(&self, script: FaultScript) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    fn script(&self) -> Arc<FaultScript> {
        Arc::clone(&self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<P: DeliveryPublisher> DeliveryPublisher for FaultyPublisher<P> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let script = self.script();
        if script.is_empty() {
            self.inner.publish(event, deliveries).await;
        } else {
            let queue = Queue {
                publisher: &self.inner,
                event,
            };
            publish(&queue, &script, deliveries).await;
        }
    }
}

/// The deliveries of one event, on their way to the queue that takes them in the end.
struct Queue<'a, P> {
    publisher: &'a P,
    event: &'a Event,
}

/// Something that happens to a slot.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Take,
    Answer,
}

async fn publish<P: DeliveryPublisher>(
    queue: &Queue<'_, P>,
    script: &FaultScript,
    slots: &mut [Delivery],
) {
    if script.rolls_back() {
        publish_at_once(queue, script, slots).await;
    } else {
        publish_one_by_one(queue, script, slots).await;
    }
}

async fn publish_one_by_one<P: DeliveryPublisher>(
    queue: &Queue<'_, P>,
    script: &FaultScript,
    slots: &mut [Delivery],
) {
    let begun = Instant::now();
    let steps = steps(script, slots.len());
    let mut truth = slots.to_vec();
    // What happens to several slots at the same time, one kind of step at a time.
    for group in steps.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1)) {
        let (at, step, ..) = group[0];
        wait_until(begun, at).await;
        let places: Vec<usize> = group.iter().map(|(.., place)| *place).collect();
        match step {
            Step::Take => take(queue, &mut truth, &places).await,
            Step::Answer => {
                for place in places {
                    answer(script, place, &truth, &mut slots[place]);
                }
            }
        }
    }
    if is_silent(script, slots.len()) {
        std::future::pending::<()>().await;
    }
}

async fn publish_at_once<P: DeliveryPublisher>(
    queue: &Queue<'_, P>,
    script: &FaultScript,
    slots: &mut [Delivery],
) {
    let begun = Instant::now();
    let steps = steps(script, slots.len());
    let mut transaction = Transaction {
        slots,
        is_committed: false,
    };
    for (at, step, _, place) in &steps {
        wait_until(begun, *at).await;
        if *step == Step::Answer && script.fault(*place).answer == Answer::Panic {
            panic_as_scripted();
        }
    }
    if is_silent(script, transaction.slots.len()) {
        std::future::pending::<()>().await;
    }
    let taken: Vec<usize> = steps
        .iter()
        .filter(|(_, step, ..)| *step == Step::Take)
        .map(|(.., place)| *place)
        .collect();
    // From here on the inner publisher decides what dropping means.
    transaction.is_committed = true;
    let mut truth = transaction.slots.to_vec();
    take(queue, &mut truth, &taken).await;
    for (place, slot) in transaction.slots.iter_mut().enumerate() {
        answer(script, place, &truth, slot);
    }
}

/// Gives the slots at these places to the inner publisher and keeps what it says.
async fn take<P: DeliveryPublisher>(
    queue: &Queue<'_, P>,
    truth: &mut [Delivery],
    places: &[usize],
) {
    let mut batch: Vec<_> = places.iter().map(|place| truth[*place]).collect();
    queue.publisher.publish(queue.event, &mut batch).await;
    for (place, slot) in places.iter().zip(batch) {
        truth[*place] = slot;
    }
}

/// Returns the steps in order: when, what, and to which slot.
fn steps(script: &FaultScript, width: usize) -> Vec<(Duration, Step, u64, usize)> {
    let mut steps = Vec::with_capacity(2 * width);
    for slot in 0..width {
        let (fault, rank) = (script.fault(slot), script.rank(slot));
        if fault.taken {
            steps.push((fault.delay, Step::Take, rank, slot));
        }
        let answered = fault.delay.saturating_add(fault.latency);
        steps.push((answered, Step::Answer, rank, slot));
    }
    steps.sort_unstable();
    steps
}

async fn wait_until(begun: Instant, at: Duration) {
    if begun.elapsed() < at {
        tokio::time::sleep_until(begun + at).await;
    }
}

fn is_silent(script: &FaultScript, width: usize) -> bool {
    (0..width).any(|slot| script.fault(slot).answer == Answer::Silence)
}

/// Resolves a slot as the script says; an acknowledgement passes on what the queue said, if it was asked.
fn answer(script: &FaultScript, place: usize, truth: &[Delivery], slot: &mut Delivery) {
    let fault = script.fault(place);
    match fault.answer {
        Answer::Acknowledge if fault.taken => slot.resolve(truth[place].outcome()),
        Answer::Acknowledge => slot.resolve(Outcome::Published),
        Answer::Fail(kind) => slot.resolve(Outcome::Failed(kind)),
        Answer::Omit | Answer::Silence => {}
        Answer::Panic => panic_as_scripted(),
    }
}

#[expect(clippy::panic, reason = "the fault is a panic")]
fn panic_as_scripted() {
    panic!("the fault script says so")
}

/// Rolls back when it is dropped before it was committed.
struct Transaction<'a> {
    slots: &'a mut [Delivery],
    is_committed: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            for slot in &mut *self.slots {
                slot.resolve(Outcome::Failed(FailureKind::QueueUnavailable));
            }
        }
    }
}
