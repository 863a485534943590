//! The delivery log's way to the store: what the workers settle is told to a stream, and from there recorded.
//!
//! The stream is between the two so that neither waits for the other: deliveries go on while the store is slow or gone,
//! and what they came to survives the end of every process. Each message is complete in itself and its entries commute, so
//! it may be recorded twice, late, and by whichever process takes it.

mod reader;
mod text;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use nahook_core::DeliveryRecorder;

use self::reader::Reader;
pub(crate) use self::writer::LogWriter;
use crate::connection::Connection;
use crate::layout::Names;

/// The stream of what became of deliveries; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct NatsLog {
    connection: Connection,
    names: Arc<Names>,
}

impl NatsLog {
    pub(crate) fn new(connection: &Connection, names: &Names) -> Self {
        Self {
            connection: connection.clone(),
            names: Arc::new(names.clone()),
        }
    }

    /// Records what the stream tells, until `stop` resolves. Any number of processes may do so; they share the work.
    ///
    /// While the recorder fails nothing is taken off the stream; what it refuses for good is passed by, counted in
    /// `nahook_nats_log_refused_total`. Whatever was recorded and not yet acknowledged when this ends is recorded again,
    /// which changes nothing.
    pub async fn run(
        &self,
        recorder: impl DeliveryRecorder,
        stop: impl Future<Output = ()> + Send,
    ) {
        let reader = Reader::new(&self.connection, &self.names);
        tokio::select! {
            biased;
            () = stop => {}
            () = reader.run(&recorder) => {}
        }
    }

    /// How many messages of the stream are yet to be recorded; `None` if the server does not say.
    pub async fn lag(&self) -> Option<u64> {
        let patience = Duration::from_secs(5);
        let asked = tokio::time::timeout(patience, reader::lag(&self.connection, &self.names));
        asked.await.ok().flatten()
    }
}
