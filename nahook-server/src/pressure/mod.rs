//! Back-pressure: watches how far deliveries are behind and what memory the server takes, and holds ingestion back.

mod monitor;

use std::time::Duration;

use metrics::gauge;
use nahook_embed::{Backend, NoSpace};
use nahook_http::{Pressure, Shortage};
use nahook_supervision::{Exit, Loop, Supervisor};
use tokio::sync::watch;
use tokio::time::Instant;

use self::monitor::{Measured, Monitor};
use crate::machine;
use crate::settings::PressureSettings;
use crate::telemetry::metric;

/// Interval between two looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// The signal for the routes of `backend`.
pub(crate) fn signal(backend: &Backend) -> Pressure {
    let backend = backend.clone();
    Pressure::new(move || {
        Some(match backend.lack_of_space()? {
            NoSpace::Queue => Shortage::Queue,
            _ => Shortage::Disk,
        })
    })
}

/// Watches until `stop` says so.
pub(crate) fn watch(
    backend: &Backend,
    settings: &PressureSettings,
    pressure: &Pressure,
    supervisor: &Supervisor,
    stop: &watch::Sender<bool>,
) {
    let (backend, settings, pressure) = (backend.clone(), settings.clone(), pressure.clone());
    let stop = stop.subscribe();
    supervisor.spawn(Loop::Pressure, move || {
        let monitor = Monitor::new(settings.clone());
        let (backend, pressure, mut stop) = (backend.clone(), pressure.clone(), stop.clone());
        async move {
            tokio::select! {
                // It never ends.
                () = look(&backend, monitor, &pressure) => Exit::failed("nothing is watched any more"),
                _ = stop.wait_for(|stop| *stop) => Exit::Stopped,
            }
        }
    });
}

async fn look(backend: &Backend, mut monitor: Monitor, pressure: &Pressure) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let measured = Measured {
            at: Instant::now(),
            lag: backend.lag.take(),
            published: backend.gate.published(),
            memory: machine::memory(),
        };
        let decision = monitor.decide(measured);
        if decision.share != backend.gate.is_sharing() {
            backend.gate.share(decision.share);
            tracing::debug!(is_sharing = decision.share, "ingestion and delivery share");
        }
        let before = pressure.told();
        match decision.refusal {
            Some((shortage, retry_after)) => pressure.refuse(shortage, retry_after),
            None => pressure.relieve(),
        }
        match (before, decision.refusal) {
            (None, Some((shortage, _))) => {
                let cause = shortage.name();
                tracing::warn!(cause, lag = ?monitor.lag(), "new events are refused");
            }
            (Some(_), None) => tracing::info!("new events are taken again"),
            _ => {}
        }
        gauge!(metric::DELIVERY_LAG).set(monitor.lag().as_secs_f64());
        gauge!(metric::INGESTION_SHARED).set(f64::from(u8::from(decision.share)));
        if let Some(free) = backend.disk_free() {
            #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
            gauge!(metric::DISK_FREE).set(free as f64);
        }
    }
}
