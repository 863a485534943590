//! A check that costs something, and is asked often.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use nahook_embed::Backend;

/// Time for which an answer holds.
const FRESH: Duration = Duration::from_secs(1);

type Answer = Result<(), Cow<'static, str>>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A check of the back end whose answer holds for a moment. Whoever asks meanwhile waits for the same one.
#[derive(Clone)]
pub(super) struct Cached {
    backend: Backend,
    check: Arc<dyn Fn(Backend) -> Answering + Send + Sync>,
    latest: Arc<Mutex<Option<(Instant, Answer)>>>,
}

impl Cached {
    pub(super) fn new<F>(
        backend: Backend,
        check: impl Fn(Backend) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self {
            backend,
            check: Arc::new(move |backend| Box::pin(check(backend))),
            latest: Arc::default(),
        }
    }

    /// # Cancellation
    /// A check that is given up, as one that takes too long, leaves no answer behind.
    pub(super) async fn get(self) -> Answer {
        let mut latest = self.latest.lock().await;
        if let Some((at, answer)) = &*latest
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = (self.check)(self.backend.clone()).await;
        *latest = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::advance;

    use super::*;
    use nahook_embed::StoreUrl;

    #[tokio::test(start_paused = true)]
    async fn answer_holds_for_a_second() {
        let backend = Backend::open_tool(&StoreUrl::Memory, None).await.unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        let cached = Cached::new(backend, move |_| {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            async move { Err(number.to_string().into()) }
        });
        for (wait, answer) in [(0, "0"), (999, "0"), (1, "1"), (0, "1")] {
            advance(Duration::from_millis(wait)).await;
            assert_eq!(cached.clone().get().await, Err(answer.into()));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
