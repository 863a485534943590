//! Reads of secrets, which the audit log tells of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nahook_core::id::{EndpointId, ManagementTokenId};
use tokio::time::Instant;

/// Time for which one entry tells of further reads of one secret with one token: a page that polls must not fill the log.
const TOLD_FOR: Duration = Duration::from_hours(1);
/// Upper bound on reads that are remembered.
const LEN_MAX: usize = 4_096;

type Reads = HashMap<(ManagementTokenId, EndpointId), Instant>;

/// The reads that were told of lately; a clone is a handle.
#[derive(Clone, Debug, Default)]
pub(super) struct SecretReads(Arc<Mutex<Reads>>);

impl SecretReads {
    /// Returns true if an entry tells of it already.
    pub(super) fn is_told(&self, token: ManagementTokenId, endpoint: EndpointId) -> bool {
        let reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = reads.get(&(token, endpoint));
        told.is_some_and(|at| at.elapsed() < TOLD_FOR)
    }

    /// Remembers that an entry tells of it.
    pub(super) fn told(&self, token: ManagementTokenId, endpoint: EndpointId) {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.len() >= LEN_MAX {
            reads.clear();
        }
        reads.insert((token, endpoint), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_entry_tells_of_an_hour_of_reads() {
        let reads = SecretReads::default();
        let (token, endpoint) = (ManagementTokenId::from_bits(1), EndpointId::from_bits(1));
        assert!(!reads.is_told(token, endpoint));
        reads.told(token, endpoint);
        assert!(reads.is_told(token, endpoint));
        assert!(!reads.is_told(ManagementTokenId::from_bits(2), endpoint));
        assert!(!reads.is_told(token, EndpointId::from_bits(2)));
        tokio::time::advance(TOLD_FOR).await;
        assert!(!reads.is_told(token, endpoint));
        for id in 0..=LEN_MAX as u128 {
            reads.told(token, EndpointId::from_bits(id));
        }
        assert!(reads.0.lock().unwrap().len() <= LEN_MAX);
    }
}
