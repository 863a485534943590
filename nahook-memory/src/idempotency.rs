//! Idempotency keys and the deliveries that they stand for.

use std::collections::{HashMap, VecDeque};

use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{IdempotencyKey, Timestamp};

/// Number of expired keys forgotten for each that is claimed: more than one, so that they cannot pile up.
const FORGOTTEN_PER_CLAIM: usize = 2;

/// The keys that stand for something.
#[derive(Default)]
pub(super) struct Keys {
    originals: HashMap<(EndpointId, IdempotencyKey), Original>,
    /// In the order of claiming.
    claimed: VecDeque<(Timestamp, EndpointId, IdempotencyKey)>,
}

struct Original {
    delivery: DeliveryId,
    claimed_at: Timestamp,
}

impl Keys {
    /// Returns the delivery that the key stands for now.
    pub(super) fn original(
        &self,
        endpoint: EndpointId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Option<DeliveryId> {
        let found = self.originals.get(&(endpoint, key.clone()))?;
        (!is_over(found.claimed_at, now)).then_some(found.delivery)
    }

    /// From now on the key stands for the delivery.
    pub(super) fn claim(
        &mut self,
        endpoint: EndpointId,
        key: IdempotencyKey,
        delivery: DeliveryId,
        now: Timestamp,
    ) {
        self.forget_some(now);
        self.claimed.push_back((now, endpoint, key.clone()));
        let original = Original {
            delivery,
            claimed_at: now,
        };
        self.originals.insert((endpoint, key), original);
    }

    fn forget_some(&mut self, now: Timestamp) {
        for _ in 0..FORGOTTEN_PER_CLAIM {
            let Some((_, endpoint, key)) = self.claimed.pop_front_if(|(at, ..)| is_over(*at, now))
            else {
                return;
            };
            // Claimed again since, it stands for something else.
            let of_that_claim = (endpoint, key);
            if self
                .originals
                .get(&of_that_claim)
                .is_some_and(|found| is_over(found.claimed_at, now))
            {
                self.originals.remove(&of_that_claim);
            }
        }
    }
}

/// Returns true if the window of a key claimed at `claimed_at` has passed.
fn is_over(claimed_at: Timestamp, now: Timestamp) -> bool {
    now.saturating_since(claimed_at) >= IdempotencyKey::WINDOW
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use nahook_core::id::MessageId;

    #[test]
    fn what_has_run_out_is_forgotten_as_others_come() {
        let (mut keys, endpoint) = (Keys::default(), EndpointId::from_bits(1));
        let day = |n: u32| {
            Timestamp::from_millis(1).saturating_add(IdempotencyKey::WINDOW.saturating_mul(n))
        };
        for number in 0..100_u32 {
            let key = IdempotencyKey::new(&number.to_string()).unwrap();
            let id = DeliveryId::nth(MessageId::from_bits(number.into()), 0);
            keys.claim(endpoint, key, id, day(number / 50));
        }
        assert!(keys.originals.len() <= 51, "{}", keys.originals.len());
        assert_eq!(keys.originals.len(), keys.claimed.len());
        let last = IdempotencyKey::new("99").unwrap();
        let almost = IdempotencyKey::WINDOW.saturating_sub(Duration::from_nanos(1));
        assert!(
            keys.original(endpoint, &last, day(1).saturating_add(almost))
                .is_some()
        );
        assert!(keys.original(endpoint, &last, day(2)).is_none());
    }
}
