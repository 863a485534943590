//! Delays before a loop that has ended starts again.

use std::time::Duration;

use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A loop that ran for this long starts over with the shortest pause.
const STEADY: Duration = Duration::from_secs(10);

/// The pauses of one loop: each twice the one before.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    started: Instant,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self {
            next: PAUSE_MIN,
            started: Instant::now(),
        }
    }

    pub(crate) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// The pause after the loop has ended now.
    pub(crate) fn after_end(&mut self) -> Duration {
        self.after(self.started.elapsed())
    }

    fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= STEADY {
            self.next = PAUSE_MIN;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut pauses = Pauses::new();
        let millis: Vec<_> = (0..9)
            .map(|_| pauses.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(millis, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn loop_that_was_steady_starts_over() {
        let mut pauses = Pauses::new();
        for _ in 0..9 {
            pauses.after(Duration::from_secs(9));
        }
        assert_eq!(
            pauses.after(Duration::from_secs(10)),
            Duration::from_millis(10)
        );
    }
}
