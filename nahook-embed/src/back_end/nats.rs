//! A queue on NATS, beside a store that keeps the delivery log.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use nahook_control::{SecretBox, SecretText};
use nahook_core::Causes;
use nahook_nats::Nats;
use nahook_queue::{DeliveryRecorder, LoggedPublisher, RecorderBuffer, RecorderBufferSettings};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::watch;

use super::by_key::ByKey;
use super::delivering::stopped_by;
use super::{Backend, BackendSettings};
use crate::{OpenError, metric};

/// Interval at which the metrics are updated with the state of the delivery log.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// A queue on NATS.
#[derive(Clone)]
pub(super) struct NatsBackend {
    pub(super) nats: Nats,
    /// Accepted deliveries on their way to the log.
    accepted: RecorderBuffer,
}

impl Backend {
    pub(super) async fn with_nats(
        mut self,
        servers: &SecretText,
        settings: &BackendSettings,
    ) -> Result<Self, OpenError> {
        let mut nats = settings.nats.clone();
        nats.supervisor = settings.supervisor.clone();
        if let Some(key) = self.secrets().and_then(SecretBox::record_key) {
            nats.authentication = nats.authentication.with_key(&key);
        }
        match nahook_nats::connect(servers.expose(), nats).await {
            Ok(nats) => {
                self.put_queue_on(nats);
                self.queue = self.watch_queue(Arc::clone(&self.queue));
                Ok(self)
            }
            Err(error) => {
                if let Err(error) = self.close().await {
                    tracing::error!(error = %Causes(&error), "the store did not close cleanly");
                }
                Err(OpenError::Queue(error.into()))
            }
        }
    }

    /// From here on deliveries wait on NATS, and the store keeps their log.
    fn put_queue_on(&mut self, nats: Nats) {
        let accepted = RecorderBuffer::new(RecorderBufferSettings::default());
        let publisher = nats.publisher.clone();
        let publisher = LoggedPublisher::new(publisher, accepted.clone());
        self.publisher = Arc::new(ByKey {
            store: Arc::clone(&self.publisher),
            queue: publisher,
        });
        self.queue = Arc::new(nats.queue.clone());
        self.nats = Some(NatsBackend { nats, accepted });
    }
}

impl NatsBackend {
    pub(super) async fn record_accepted(
        &self,
        recorder: &Arc<dyn DeliveryRecorder>,
        supervisor: &Supervisor,
        stop: watch::Receiver<bool>,
    ) {
        let (buffer, recorder) = (self.accepted.clone(), Arc::clone(recorder));
        let recording = supervisor.spawn(Loop::AcceptedRecorder, move || {
            let (buffer, recorder) = (buffer.clone(), Arc::clone(&recorder));
            let stop = stopped_by(stop.clone());
            async move {
                tokio::select! {
                    () = buffer.run(&recorder, stop) => Exit::Stopped,
                    () = measure(&buffer) => Exit::failed("nothing is measured any more"),
                }
            }
        });
        // It has been stopped.
        let _ = recording.await;
    }

    pub(super) async fn record_attempted(
        &self,
        recorder: &Arc<dyn DeliveryRecorder>,
        stop: watch::Receiver<bool>,
    ) {
        if let Some(log) = &self.nats.log {
            log.run(Arc::clone(recorder), stopped_by(stop)).await;
        }
    }
}

/// Tells the metrics how the log gets on, for ever.
async fn measure(accepted: &RecorderBuffer) {
    loop {
        counter!(metric::LOG_DROPPED).absolute(accepted.dropped());
        #[expect(clippy::cast_precision_loss, reason = "a hundred thousand at most")]
        gauge!(metric::LOG_WAITING).set(accepted.len() as f64);
        tokio::time::sleep(MEASURE_INTERVAL).await;
    }
}
