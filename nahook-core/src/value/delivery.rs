//! One event for one endpoint, and what became of queueing it.

use crate::id::{DeliveryId, EndpointId, MessageId};

/// A slot that a publisher resolves: it starts [`Unconfirmed`](FailureKind::Unconfirmed) and tells its fate as soon as
/// that is known, so that whatever interrupts the publisher, nothing known is lost and nothing unknown is claimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its own; the original's once it is replayed. Wide fan-outs hold thousands of slots: a second id would make each a fifth larger.
    id: DeliveryId,
    endpoint: EndpointId,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Failed(FailureKind),
    Published,
    Replayed,
}

/// The outcome of publishing a delivery, as far as it is known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Not queued, or not known to be.
    Failed(FailureKind),
    /// The queue has acknowledged it.
    Published,
    /// Its idempotency key stands for this earlier delivery, which the queue has acknowledged: nothing was queued anew.
    Replayed(DeliveryId),
}

/// Reasons for which a delivery was not queued, or is not known to be; one kind for each thing a caller would do differently
/// (contract, section 1, `failures`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum FailureKind {
    /// The endpoint was deleted between look-up and write.
    EndpointGone,
    /// Unclassified: the queue may hold it.
    Internal,
    /// The payload is over the queue's own limit.
    PayloadTooLarge,
    /// The queue refused, was out of reach or rolled back.
    QueueUnavailable,
    /// No acknowledgement when it was needed: the queue may hold it.
    Unconfirmed,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::EndpointGone,
        Self::Internal,
        Self::PayloadTooLarge,
        Self::QueueUnavailable,
        Self::Unconfirmed,
    ];

    /// Returns true if the queue may hold the delivery all the same.
    pub const fn may_be_queued(self) -> bool {
        match self {
            Self::Internal | Self::Unconfirmed => true,
            Self::EndpointGone | Self::PayloadTooLarge | Self::QueueUnavailable => false,
        }
    }

    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::EndpointGone => "endpoint_gone",
            Self::Internal => "internal_error",
            Self::PayloadTooLarge => "payload_too_large",
            Self::QueueUnavailable => "queue_unavailable",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// A sentence for people. It names what failed and nothing of the inside.
    pub const fn message(self) -> &'static str {
        match self {
            Self::EndpointGone => "The endpoint was deleted; nothing was queued for it",
            Self::Internal => "Queueing failed unexpectedly; the delivery may still arrive",
            Self::PayloadTooLarge => "The payload exceeds the queue's limit; nothing was queued",
            Self::QueueUnavailable => "The queue did not take the delivery; nothing was queued",
            Self::Unconfirmed => "The queue did not confirm in time; the delivery may still arrive",
        }
    }
}

impl Delivery {
    /// An unresolved slot for the message's delivery with this ordinal, counted from 0.
    pub fn new(message: MessageId, ordinal: u32, endpoint: EndpointId) -> Self {
        Self {
            id: DeliveryId::nth(message, ordinal),
            endpoint,
            state: State::Failed(FailureKind::Unconfirmed),
        }
    }

    /// Records that the queue has acknowledged it.
    pub fn mark_published(&mut self) {
        self.state = State::Published;
    }

    /// Records why it was not queued, or that this is not known.
    pub fn mark_failed(&mut self, kind: FailureKind) {
        self.state = State::Failed(kind);
    }

    /// Records that its idempotency key stands for an earlier delivery.
    pub fn mark_replayed(&mut self, original: DeliveryId) {
        self.id = original;
        self.state = State::Replayed;
    }

    /// Records `outcome`.
    pub fn resolve(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Failed(kind) => self.mark_failed(kind),
            Outcome::Published => self.mark_published(),
            Outcome::Replayed(original) => self.mark_replayed(original),
        }
    }

    /// Its id; that of the delivery that its key stands for once it is replayed.
    pub fn id(&self) -> DeliveryId {
        self.id
    }

    /// The endpoint it is for.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Outcome so far.
    pub fn outcome(&self) -> Outcome {
        match self.state {
            State::Failed(kind) => Outcome::Failed(kind),
            State::Published => Outcome::Published,
            State::Replayed => Outcome::Replayed(self.id),
        }
    }

    /// True if the queue holds it or may hold it.
    pub fn may_be_queued(&self) -> bool {
        match self.state {
            State::Failed(kind) => kind.may_be_queued(),
            State::Published => true,
            State::Replayed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_contracts_code_and_says_whether_it_may_arrive() {
        let told = |kind: FailureKind| (kind.code(), kind.may_be_queued());
        assert_eq!(
            FailureKind::ALL.map(told),
            [
                ("endpoint_gone", false),
                ("internal_error", true),
                ("payload_too_large", false),
                ("queue_unavailable", false),
                ("unconfirmed", true),
            ]
        );
        for kind in FailureKind::ALL {
            let says = |words| kind.message().contains(words);
            assert_eq!(says("may still arrive"), kind.may_be_queued(), "{kind:?}");
            assert_eq!(
                says("nothing was queued"),
                !kind.may_be_queued(),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn an_unresolved_or_published_delivery_may_be_queued() {
        let mut delivery = Delivery::new(MessageId::from_bits(7), 0, EndpointId::from_bits(1));
        assert!(delivery.may_be_queued());
        delivery.mark_failed(FailureKind::QueueUnavailable);
        assert!(!delivery.may_be_queued());
        delivery.mark_published();
        assert!(delivery.may_be_queued());
    }

    /// A wide fan-out holds thousands of slots.
    #[test]
    fn a_slot_has_80_bytes() {
        assert_eq!(size_of::<Delivery>(), 80);
    }
}
