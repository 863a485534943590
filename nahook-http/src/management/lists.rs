//! Bounds on the memory that lists take: rows have bounds of their own, their number has none.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lists that are read from the store and written as JSON at once; further ones wait.
const READ_AT_ONCE: usize = 4;
/// KiB of lists that are held at once for clients that have not taken them yet; further lists wait.
const HELD_KIB_MAX: u32 = 64 * 1024;
/// A list of so many bytes or fewer does not wait: slow clients of large ones must not hold it up.
const SMALL: usize = 64 * 1024;

/// Limits that all lists share.
#[derive(Clone)]
pub(super) struct Lists {
    reading: Arc<Semaphore>,
    held: Arc<Semaphore>,
}

impl Lists {
    pub(super) fn new() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(READ_AT_ONCE)),
            held: Arc::new(Semaphore::new(HELD_KIB_MAX as usize)),
        }
    }

    /// Waits for a turn to read a list, which lasts until the answer is dropped. The semaphores are never closed.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.reading).acquire_owned().await.ok()
    }

    /// Waits for room for the list, and gives it back once the bytes were sent or dropped.
    pub(super) async fn hold(&self, json: Vec<u8>) -> Bytes {
        if json.len() <= SMALL {
            return json.into();
        }
        let kib = u32::try_from(json.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.held).acquire_many_owned(kib.min(HELD_KIB_MAX));
        Bytes::from_owner(Held {
            _room: room.await.ok(),
            json,
        })
    }
}

struct Held {
    json: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn large_lists_wait_until_others_were_sent() {
        let lists = Lists::new();
        let first = lists.hold(vec![b'x'; 40_000_000]).await;
        let part = first.slice(..10);
        assert_eq!(part, "xxxxxxxxxx");
        let second = timeout(SOON, lists.hold(vec![b'y'; 40_000_000]));
        assert!(second.await.is_err());
        assert_eq!(lists.hold(vec![b'z'; 65_536]).await.len(), 65_536);
        drop((first, part));
        assert_eq!(lists.hold(vec![b'y'; 40_000_000]).await.len(), 40_000_000);
        // One that is larger than all the room has it alone.
        assert_eq!(lists.hold(vec![b'y'; 70_000_000]).await.len(), 70_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn four_lists_are_read_at_once() {
        let lists = Lists::new();
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(lists.turn().await);
        }
        assert!(timeout(SOON, lists.turn()).await.is_err());
        turns.pop();
        assert!(timeout(SOON, lists.turn()).await.is_ok());
    }
}
