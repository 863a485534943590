//! Loops that receive answers and permission errors, and give up records that are never answered.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{SubscribeError, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until};

use super::Acks;
use super::answer::outcome_of;
use crate::connection::{Connection, Link};
use crate::violation::Violation;

/// Time after which a new connection ends the waiting for records of older ones: the client sends what it had buffered first.
const GRACE: Duration = Duration::from_secs(1);
/// Interval of giving up silent records.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

impl Acks {
    /// Subscribes to acknowledgements and spawns the loops. They end with the last handle.
    pub(crate) async fn start(
        connection: &Connection,
        supervisor: &Supervisor,
    ) -> Result<Arc<Self>, SubscribeError> {
        let acks = Arc::new(Self::new(connection));
        spawn(&acks, supervisor).await?;
        Ok(acks)
    }
}

async fn spawn(acks: &Arc<Acks>, supervisor: &Supervisor) -> Result<(), SubscribeError> {
    // These outlive their loops, so that messages wait for a loop that starts again.
    let subscriber = Arc::new(Mutex::new(Some(subscribe(acks).await?)));
    let violations = Arc::new(Mutex::new(acks.connection.violations()));
    let (weak, open) = (Arc::downgrade(acks), acks.open.subscribe());
    let while_open = move |body| {
        let mut open = open.clone();
        async move {
            tokio::select! {
                _ = open.changed() => Exit::Stopped,
                exit = body => exit,
            }
        }
    };
    supervisor.spawn(Loop::NatsAcks, {
        let (weak, while_open) = (Weak::clone(&weak), while_open.clone());
        move || while_open(listen(Weak::clone(&weak), Arc::clone(&subscriber)).boxed())
    });
    supervisor.spawn(Loop::NatsLinkWatch, {
        let (weak, while_open) = (Weak::clone(&weak), while_open.clone());
        move || while_open(watch(Weak::clone(&weak), Arc::clone(&violations)).boxed())
    });
    supervisor.spawn(Loop::NatsAckSweep, move || {
        while_open(sweep(Weak::clone(&weak)).boxed())
    });
    Ok(())
}

async fn subscribe(acks: &Acks) -> Result<Subscriber, SubscribeError> {
    let inbox = format!("{}.*", acks.inbox);
    acks.connection.client.subscribe(inbox).await
}

async fn listen(acks: Weak<Acks>, subscriber: Arc<Mutex<Option<Subscriber>>>) -> Exit {
    let mut subscriber = subscriber.lock().await;
    loop {
        let message = match subscriber.as_mut() {
            Some(subscriber) => subscriber.next().await,
            None => None,
        };
        let Some(acks) = acks.upgrade() else {
            return Exit::Stopped;
        };
        let Some(message) = message else {
            *subscriber = subscribe(&acks).await.ok();
            if subscriber.is_none() {
                return Exit::failed("the inbox of acknowledgements cannot be subscribed to");
            }
            continue;
        };
        let token = message.subject.rsplit('.').next();
        if let Some(token) = token.and_then(|token| token.parse().ok()) {
            acks.in_flight().answer(token, outcome_of(&message));
        }
    }
}

async fn watch(acks: Weak<Acks>, violations: Arc<Mutex<Receiver<Violation>>>) -> Exit {
    let mut violations = violations.lock().await;
    let mut link = match acks.upgrade() {
        Some(acks) => acks.connection.link(),
        None => return Exit::Stopped,
    };
    // A change that was missed while the loop was down is made up for.
    link.mark_changed();
    let mut give_up_at = None;
    loop {
        let grace = async {
            match give_up_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = link.changed() => {
                let Some(acks) = acks.upgrade().filter(|_| changed.is_ok()) else {
                    return Exit::Stopped;
                };
                let Link { is_up, .. } = *link.borrow_and_update();
                if is_up {
                    give_up_at = Some(Instant::now() + GRACE);
                } else {
                    acks.in_flight().release_permits();
                }
            }
            () = grace => {
                give_up_at = None;
                let Some(acks) = acks.upgrade() else {
                    return Exit::Stopped;
                };
                let Link { is_up, generation, .. } = *link.borrow();
                if is_up {
                    acks.in_flight().give_up_before(generation);
                }
            }
            violation = violations.recv() => {
                let Some(acks) = acks.upgrade() else {
                    return Exit::Stopped;
                };
                match violation {
                    Ok(violation) if violation.is_of_inbox() => acks.in_flight().give_up_all(),
                    Ok(Violation::Publish(subject)) => acks.in_flight().forbid(&subject),
                    // Records whose errors were missed stay unanswered, which claims nothing.
                    Ok(Violation::Subscribe(_)) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Exit::Stopped,
                }
            }
        }
    }
}

async fn sweep(acks: Weak<Acks>) -> Exit {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(acks) = acks.upgrade() else {
            return Exit::Stopped;
        };
        acks.in_flight().give_up_silent();
    }
}
