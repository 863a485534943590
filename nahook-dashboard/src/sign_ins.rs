//! Failed attempts to sign in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nahook_core::Timestamp;

/// Failed attempts to sign in that an address has within [`FAILURES_WITHIN`]; further ones are refused unseen.
const FAILURES_MAX: u32 = 10;
pub(crate) const FAILURES_WITHIN: Duration = Duration::from_mins(5);
/// Number of addresses that are remembered; beyond it all are forgotten, so that memory is bounded.
const ADDRESSES_MAX: usize = 10_000;

/// Failed attempts to sign in, by address.
#[derive(Debug, Default)]
pub(crate) struct SignIns(Mutex<HashMap<Option<IpAddr>, (u32, Timestamp)>>);

impl SignIns {
    /// Returns false if the address has failed too often of late.
    pub(crate) fn may_try(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&address).is_none_or(|(count, since)| {
            *count < FAILURES_MAX || now.saturating_since(*since) >= FAILURES_WITHIN
        })
    }

    /// Remembers a failed attempt.
    pub(crate) fn note_failure(&self, address: Option<IpAddr>, now: Timestamp) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX {
            failures.clear();
        }
        let entry = failures.entry(address).or_insert((0, now));
        if now.saturating_since(entry.1) >= FAILURES_WITHIN {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_refused_after_ten_failures_for_five_minutes() {
        let sign_ins = SignIns::default();
        let (address, other) = (Some([127, 0, 0, 1].into()), Some([127, 0, 0, 2].into()));
        let now = Timestamp::from_millis(1_000_000);
        for _ in 0..10 {
            assert!(sign_ins.may_try(address, now));
            sign_ins.note_failure(address, now);
        }
        assert!(!sign_ins.may_try(address, now));
        assert!(sign_ins.may_try(other, now));
        assert!(sign_ins.may_try(address, now.saturating_add(FAILURES_WITHIN)));
    }
}
