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

use nahook_queue::DeliveryRecorder;
use nahook_supervision::Loop;
use tokio::task::JoinHandle;

use self::reader::Reader;
pub(crate) use self::writer::LogWriter;
use crate::config::NatsSettings;
use crate::connection::Connection;
use crate::layout::Names;
use crate::violation::lacking;

/// The stream of what became of deliveries; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct NatsLog {
    connection: Connection,
    names: Arc<Names>,
    settings: Arc<NatsSettings>,
}

impl NatsLog {
    pub(crate) fn new(
        connection: &Connection,
        names: &Names,
        settings: &Arc<NatsSettings>,
    ) -> Self {
        Self {
            connection: connection.clone(),
            names: Arc::new(names.clone()),
            settings: Arc::clone(settings),
        }
    }

    /// Records what the stream tells, until `stop` resolves. Any number of processes may do so; they share the work.
    ///
    /// While the recorder fails nothing is taken off the stream; what it refuses for good is passed by, counted in
    /// `nahook_nats_log_refused_total`. Whatever was recorded and not yet acknowledged when this ends is recorded again,
    /// which changes nothing.
    pub async fn run(
        &self,
        recorder: impl DeliveryRecorder + Clone + 'static,
        stop: impl Future<Output = ()> + Send,
    ) {
        let log = self.clone();
        let stream = self.names.log_stream();
        let rights: Arc<[String]> = [
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}."),
            format!("$JS.ACK.{stream}."),
        ]
        .into();
        let running = self.settings.supervisor.spawn(Loop::NatsLog, move || {
            let lacking = lacking(log.connection.violations(), Arc::clone(&rights));
            let (log, recorder) = (log.clone(), recorder.clone());
            async move {
                let reader = Reader::new(&log.connection, &log.names, &log.settings);
                tokio::select! {
                    exit = lacking => exit,
                    exit = reader.run(&recorder) => exit,
                }
            }
        });
        let _running = AbortOnDrop(running);
        stop.await;
    }

    /// Number of messages of the stream that are not recorded yet; `None` if the server does not answer.
    pub async fn lag(&self) -> Option<u64> {
        let patience = Duration::from_secs(5);
        let asked = tokio::time::timeout(patience, reader::lag(&self.connection, &self.names));
        asked.await.ok().flatten()
    }
}

/// Ends a loop with whoever runs it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
