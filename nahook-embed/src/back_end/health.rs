//! State of the store and of the queue, and their end.

use nahook_core::StoreError;

use super::Backend;

/// Storage without space for new events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoSpace {
    /// The disk of the store's file, or that of the database.
    Disk,
    /// The queue's own.
    Queue,
}

impl Backend {
    /// Returns true if the store answers.
    pub async fn is_ready(&self) -> bool {
        self.catalog.workspaces().await.is_ok()
    }

    /// Returns true if deliveries can be written to the store, where they are queued there.
    pub async fn is_store_writable(&self) -> bool {
        // A queue elsewhere takes deliveries all the same.
        match &self.opened {
            Some(store) if !self.has_queue_elsewhere() => store.check_writable().await.is_ok(),
            _ => true,
        }
    }

    /// Bytes that are free on the disk of a store in a file.
    pub fn disk_free(&self) -> Option<u64> {
        self.opened.as_ref()?.disk_free()
    }

    /// Returns what has no space for new events, if anything has none. Answers at once.
    pub fn lack_of_space(&self) -> Option<NoSpace> {
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats
            && queue.nats.is_full()
        {
            return Some(NoSpace::Queue);
        }
        let store = self.opened.as_ref()?;
        store.is_disk_full().then_some(NoSpace::Disk)
    }

    /// Checks that the queue takes deliveries, where it is not the store's. The error says what is wrong.
    pub async fn check_queue(&self) -> Result<(), String> {
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            let checked = queue.nats.check_publishable().await;
            return checked.map_err(|reason| reason.to_string());
        }
        Ok(())
    }

    /// Writes out what is not yet, and closes the store. Nothing may use it afterwards.
    pub async fn close(self) -> Result<(), StoreError> {
        #[cfg(feature = "nats")]
        if let Some(queue) = &self.nats {
            // What this process still has in hand is somebody else's at once.
            queue.nats.close().await;
        }
        match &self.opened {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}
