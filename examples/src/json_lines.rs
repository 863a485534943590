//! A publisher in about thirty lines: the queue is a file with one JSON text per line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nahook_core::{Delivery, DeliveryPublisher, Event, FailureKind};
use serde_json::json;

/// Appends a line per delivery to a file; clones append to the same one.
#[derive(Clone, Debug)]
pub struct JsonLinesPublisher {
    file: Arc<Mutex<File>>,
}

impl JsonLinesPublisher {
    /// Opens the file, making it if need be.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
        })
    }
}

impl DeliveryPublisher for JsonLinesPublisher {
    /// Writes all deliveries at once and waits until the disk has them. Dropping the future does not stop the write.
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        if event.idempotency_key.is_some() {
            // The file keeps no keys: a repetition would be written again.
            for delivery in deliveries {
                delivery.mark_failed(FailureKind::QueueUnavailable);
            }
            return;
        }
        // The payload goes in as a text: escaped, it cannot end its line.
        let payload = String::from_utf8_lossy(event.payload.as_bytes());
        let mut lines = String::new();
        for delivery in &*deliveries {
            let line = json!({
                "delivery": delivery.id().to_string(),
                "endpoint": delivery.endpoint(),
                "metadata": event.metadata,
                "payload": payload,
            });
            lines += &line.to_string();
            lines.push('\n');
        }
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(lines.as_bytes())?;
            file.sync_data()
        });
        let is_written = matches!(written.await, Ok(Ok(())));
        for delivery in deliveries {
            if is_written {
                delivery.mark_published();
            } else {
                // Some of the lines may be in the file all the same.
                delivery.mark_failed(FailureKind::Internal);
            }
        }
    }
}
