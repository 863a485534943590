//! Latest call of an operation, and its outcome.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time for which a failure counts that no success has followed. Without traffic nothing else would end it.
const REMEMBERED: Duration = Duration::from_secs(30);
/// A call that is dropped after so long has failed. Before that, the caller may have gone away.
const SILENCE: Duration = Duration::from_secs(2);

/// Outcome of the latest call of an operation. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LatestCall(Arc<Mutex<Option<Instant>>>);

impl LatestCall {
    pub(crate) fn note<T, E>(&self, result: &Result<T, E>) {
        if result.is_ok() {
            self.succeeded();
        } else {
            self.failed();
        }
    }

    pub(crate) fn succeeded(&self) {
        *self.failed_at() = None;
    }

    pub(crate) fn failed(&self) {
        *self.failed_at() = Some(Instant::now());
    }

    /// Notes a failure if it is dropped after a while without having been [ended](Call::end).
    pub(crate) fn begin(&self) -> Call<'_> {
        Call {
            latest: self,
            began: Instant::now(),
            has_ended: false,
        }
    }

    /// Fails with the age of the latest call, if that failed not long ago.
    pub fn check(&self) -> Result<(), Cow<'static, str>> {
        match self.failed_at().map(|at| at.elapsed()) {
            Some(age) if age < REMEMBERED => Err(format!("failed {} s ago", age.as_secs()).into()),
            _ => Ok(()),
        }
    }

    fn failed_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way.
pub(crate) struct Call<'a> {
    latest: &'a LatestCall,
    began: Instant,
    has_ended: bool,
}

impl Call<'_> {
    pub(crate) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended && self.began.elapsed() >= SILENCE {
            self.latest.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_call_counts() {
        let latest = LatestCall::default();
        assert_eq!(latest.check(), Ok(()));
        latest.note(&Err::<(), _>(()));
        assert_eq!(latest.check(), Err("failed 0 s ago".into()));
        latest.note(&Ok::<_, ()>(()));
        assert_eq!(latest.check(), Ok(()));
    }

    #[test]
    fn old_failure_is_forgotten() {
        let latest = LatestCall::default();
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(31)) else {
            return;
        };
        *latest.failed_at() = Some(long_ago);
        assert_eq!(latest.check(), Ok(()));
        *latest.failed_at() = Some(long_ago + Duration::from_secs(3));
        assert_eq!(latest.check(), Err("failed 28 s ago".into()));
    }

    #[test]
    fn dropped_call_failed_if_it_was_silent_for_long() {
        let latest = LatestCall::default();
        drop(latest.begin());
        assert_eq!(latest.check(), Ok(()));
        let mut call = latest.begin();
        call.began -= SILENCE;
        drop(call);
        assert!(latest.check().is_err());
    }
}
