//! A publisher in about thirty lines: the queue is a file with one JSON text per line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind};
use serde_json::json;

/// Appends a line per delivery to a file; clones append to the same one.
#[derive(Clone, Debug)]
pub struct JsonLinesPublisher(Arc<Mutex<File>>);

impl JsonLinesPublisher {
    /// Opens the file, making it if need be.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }
}

impl DeliveryPublisher for JsonLinesPublisher {
    /// Writes all deliveries at once and waits until the disk has them. Dropping the future does not stop the write.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if event.idempotency_key.is_some() {
            // The file keeps no keys: a repetition would be written again.
            let refuse = |slot: &mut Delivery| slot.mark_failed(FailureKind::QueueUnavailable);
            return deliveries.iter_mut().for_each(refuse);
        }
        // The payload goes in as a text: escaped, it cannot end its line.
        let payload = String::from_utf8_lossy(event.payload.as_bytes());
        let lines = deliveries.iter().map(|slot| {
            let line = json!({
                "delivery": slot.id().to_string(),
                "endpoint": slot.endpoint(),
                "metadata": event.metadata,
                "payload": payload,
            });
            format!("{line}\n")
        });
        let (lines, file) = (lines.collect::<String>(), Arc::clone(&self.0));
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(lines.as_bytes())?;
            file.sync_data()
        });
        let is_written = matches!(written.await, Ok(Ok(())));
        for slot in deliveries {
            if is_written {
                slot.mark_published();
            } else {
                // Some of the lines may be in the file all the same.
                slot.mark_failed(FailureKind::Internal);
            }
        }
    }
}
