//! Events that tell an app what became of its deliveries.

use std::sync::{Arc, OnceLock};

use nahook_core::id::{DeliveryId, EndpointId, MessageId, WorkspaceId};
use nahook_core::{EventTypeName, Timestamp};
use nahook_queue::{Attempt, LeasedDelivery, Next, Settlement};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// Number of events that wait for a slow reader before it misses the oldest.
const BUFFERED: usize = 4_096;

/// News of a delivery, or of an endpoint, from a worker of this process.
///
/// It comes once the queue has recorded it. Deliveries that a store ends by itself, since their endpoint was disabled or deleted
/// meanwhile, have none.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeliveryEvent {
    /// A receiver took it.
    Delivered(SettledDelivery),
    /// An attempt failed, and another one is made at that time.
    Retrying(SettledDelivery, Timestamp),
    /// Every attempt of the schedule has failed.
    DeadLettered(SettledDelivery),
    /// It was abandoned before the schedule's end: its endpoint is gone or disabled.
    Failed(SettledDelivery),
    /// The worker disabled the endpoint: it has failed for too long, or answered 410.
    EndpointDisabled {
        /// Its workspace.
        workspace: WorkspaceId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// The reader was too slow, and this number of events was dropped. They may have been of any workspace.
    Missed(u64),
}

/// A delivery after an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SettledDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The message it belongs to.
    pub message: MessageId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// The event type; absent where a payload was sent to an endpoint directly.
    pub event_type: Option<EventTypeName>,
    /// Number of attempts so far.
    pub attempts: u32,
    /// The latest attempt, or the reason that none was made.
    pub attempt: Option<Attempt>,
}

impl SettledDelivery {
    fn new(delivery: &LeasedDelivery, settlement: &Settlement) -> Self {
        let attempt = settlement.attempt.clone();
        let is_made = attempt.as_ref().is_some_and(Attempt::was_made);
        Self {
            delivery: delivery.lease.delivery,
            message: delivery.message,
            workspace: delivery.workspace,
            endpoint: delivery.endpoint,
            event_type: delivery.event_type.clone(),
            attempts: delivery.attempts.saturating_add(is_made.into()),
            attempt,
        }
    }
}

impl DeliveryEvent {
    /// The workspace that it is about; `None` for [`Missed`](Self::Missed).
    pub fn workspace(&self) -> Option<WorkspaceId> {
        match self {
            Self::Delivered(it)
            | Self::Retrying(it, _)
            | Self::DeadLettered(it)
            | Self::Failed(it) => Some(it.workspace),
            Self::EndpointDisabled { workspace, .. } => Some(*workspace),
            Self::Missed(_) => None,
        }
    }
}

/// Sends [`DeliveryEvent`]s to everybody who listens. Clones are the same; without readers it costs next to nothing.
#[derive(Clone, Debug, Default)]
pub struct EventSender(Arc<OnceLock<Sender<DeliveryEvent>>>);

impl EventSender {
    /// The events from now on.
    pub fn subscribe(&self) -> DeliveryEvents {
        let sender = self.0.get_or_init(|| channel(BUFFERED).0);
        DeliveryEvents {
            receiver: sender.subscribe(),
            workspace: None,
        }
    }

    /// Tells that the queue has recorded the settlement of this delivery.
    pub fn settled(&self, delivery: &LeasedDelivery, settlement: &Settlement) {
        self.send(|| {
            let settled = SettledDelivery::new(delivery, settlement);
            match settlement.next {
                Next::Delivered => Some(DeliveryEvent::Delivered(settled)),
                Next::Retry(at) => Some(DeliveryEvent::Retrying(settled, at)),
                Next::DeadLetter => Some(DeliveryEvent::DeadLettered(settled)),
                Next::Failed => Some(DeliveryEvent::Failed(settled)),
                Next::Release => None,
            }
        });
    }

    /// Tells that the endpoint is disabled.
    pub(super) fn disabled(&self, workspace: WorkspaceId, endpoint: EndpointId) {
        self.send(|| {
            Some(DeliveryEvent::EndpointDisabled {
                workspace,
                endpoint,
            })
        });
    }

    fn send(&self, event: impl FnOnce() -> Option<DeliveryEvent>) {
        let sender = self.0.get();
        if let Some(sender) = sender.filter(|sender| sender.receiver_count() > 0)
            && let Some(event) = event()
        {
            // An error says that the last reader is gone.
            let _ = sender.send(event);
        }
    }
}

/// A reader of [`DeliveryEvent`]s. However slow it is, nothing waits for it: it [misses](DeliveryEvent::Missed) events.
#[derive(Debug)]
pub struct DeliveryEvents {
    receiver: Receiver<DeliveryEvent>,
    workspace: Option<WorkspaceId>,
}

impl DeliveryEvents {
    /// Leaves out the events of all other workspaces.
    #[must_use]
    pub fn of(mut self, workspace: WorkspaceId) -> Self {
        self.workspace = Some(workspace);
        self
    }

    /// Waits for the next event; `None` once there is nobody left to send one.
    ///
    /// # Cancellation
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<DeliveryEvent> {
        loop {
            let event = match self.receiver.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => DeliveryEvent::Missed(missed),
                Err(RecvError::Closed) => return None,
            };
            let is_of_another = |own| event.workspace().is_some_and(|of| of != own);
            if !self.workspace.is_some_and(is_of_another) {
                return Some(event);
            }
        }
    }
}

#[cfg(test)]
mod tests;
