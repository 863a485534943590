//! The end of the server, as its parts wait for it.

use tokio::sync::watch;

/// Resolves when the server stops.
pub(crate) async fn stopped_by(mut stop: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// Resolves when the server stops.
pub(crate) fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    stopped_by(stop.subscribe())
}
