//! Back-pressure: refuses new events before anything is charged or queued.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::shortage::Shortage;
use crate::{ApiError, metric};

/// Signal that no new events are taken for now. Clones are the same signal.
#[derive(Clone)]
pub struct Pressure(Arc<Inner>);

struct Inner {
    /// The whole seconds to wait and the code of a [`Shortage`]; zero while there is none.
    refusal: AtomicU64,
    space: Box<dyn Fn() -> Option<Shortage> + Send + Sync>,
}

impl Default for Pressure {
    /// Refuses nothing until it is told to.
    fn default() -> Self {
        Self::new(|| None)
    }
}

impl Pressure {
    /// Time to wait for space: it comes by somebody's doing, or with the retention.
    const SPACE_RETRY_AFTER: Duration = Duration::from_secs(30);

    /// Asks `space` for each event, which has to answer at once.
    pub fn new(space: impl Fn() -> Option<Shortage> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            refusal: AtomicU64::new(0),
            space: Box::new(space),
        }))
    }

    /// Refuses new events from now on, who are told to come back after a while of whole seconds.
    pub fn refuse(&self, shortage: Shortage, retry_after: Duration) {
        let refusal = (retry_after.as_secs().min(u64::MAX >> 8) << 8) | shortage.code();
        self.0.refusal.store(refusal, Ordering::Relaxed);
    }

    /// Takes new events again.
    pub fn relieve(&self) {
        self.0.refusal.store(0, Ordering::Relaxed);
    }

    /// Returns the reason for which new events are refused, and the time to wait; `None` if they are taken.
    pub fn refusal(&self) -> Option<(Shortage, Duration)> {
        if let Some(shortage) = (self.0.space)() {
            return Some((shortage, Self::SPACE_RETRY_AFTER));
        }
        self.told()
    }

    /// Returns what it was told to refuse for, whatever space there is.
    pub fn told(&self) -> Option<(Shortage, Duration)> {
        let refusal = self.0.refusal.load(Ordering::Relaxed);
        let is_it = |shortage: &Shortage| shortage.code() == refusal & 0xff;
        let shortage = Shortage::ALL.into_iter().find(is_it)?;
        Some((shortage, Duration::from_secs(refusal >> 8)))
    }

    /// Fails while no new events are taken.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let Some((shortage, retry_after)) = self.refusal() else {
            return Ok(());
        };
        metric::count_pressure(shortage);
        Err(ApiError::short_of(shortage, retry_after))
    }
}

impl fmt::Debug for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pressure").field(&self.refusal()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn what_is_refused_is_told_why_and_for_how_long() {
        let pressure = Pressure::default();
        assert_eq!(pressure.refusal(), None);
        for shortage in Shortage::ALL {
            for seconds in [1, 3_600] {
                let wait = Duration::from_secs(seconds);
                pressure.refuse(shortage, wait);
                assert_eq!(pressure.refusal(), Some((shortage, wait)));
                assert!(shortage.message().ends_with("nothing was queued"));
            }
        }
        pressure.relieve();
        assert!(pressure.check().is_ok());
    }

    #[test]
    fn lack_of_space_holds_at_once() {
        let is_full = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_full);
        let lack = move || asked.load(Ordering::Relaxed).then_some(Shortage::Disk);
        let pressure = Pressure::new(lack);
        assert_eq!(pressure.refusal().unwrap().0, Shortage::Disk);
        is_full.store(false, Ordering::Relaxed);
        assert_eq!(pressure.refusal(), None);
    }
}
