//! Writing the counts over time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nahook_core::Causes;
use nahook_queue::{DeliveryCounts, Tally};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Backend;
use super::delivering::stopped_by;

/// Time between two writes: a process that crashes loses the counts of so long.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// Endpoints whose counts one write adds. A row costs as much as half a delivery: ten thousand endpoints that all get deliveries are
/// written within a minute, and not every time.
const ENDPOINTS_PER_WRITE: usize = 1_000;

impl Backend {
    /// Writes what this process counts every few seconds, until `stop` says so, and then once more.
    pub(super) async fn write_counts(&self, supervisor: &Supervisor, stop: watch::Receiver<bool>) {
        let (tally, counts) = (self.tally.clone(), Arc::clone(&self.counts));
        let writing = supervisor.spawn(Loop::CountsWriter, move || {
            let (tally, counts, stop) = (tally.clone(), Arc::clone(&counts), stop.clone());
            async move {
                let mut ticks = interval(WRITTEN_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut stopped = pin!(stopped_by(stop));
                // A write that has begun is not dropped: what it has taken would be lost.
                loop {
                    let is_over = tokio::select! {
                        _ = ticks.tick() => false,
                        () = &mut stopped => true,
                    };
                    let endpoints_max = if is_over {
                        usize::MAX
                    } else {
                        ENDPOINTS_PER_WRITE
                    };
                    write(&tally, &counts, endpoints_max).await;
                    if is_over {
                        return Exit::Stopped;
                    }
                }
            }
        });
        // It has been stopped.
        let _ = writing.await;
    }
}

async fn write(tally: &Tally, counts: &Arc<dyn DeliveryCounts>, endpoints_max: usize) {
    if let Err(error) = tally.write(counts, endpoints_max).await {
        tracing::warn!(error = %Causes(&error), "counts could not be written; the next time will");
    }
}
