//! The lines of the log that wait to be written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;

use super::metric;

/// Upper bounds on what waits. A line is short, except for one that shows a sample endpoint's webhook.
const LINES_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Upper bound on the writer's wait for a line before it checks its other duties.
const IDLE: Duration = Duration::from_secs(1);

/// A bounded queue of lines that never makes anybody wait: a line that does not fit is dropped and counted.
///
/// Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    /// Lines that were lost and not yet told of.
    lost: u64,
}

impl Lines {
    /// Queues a line.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let is_full = state.waiting.len() >= LINES_MAX || state.bytes + line.len() > BYTES_MAX;
        // An empty queue takes any line.
        if is_full && !state.waiting.is_empty() {
            state.lose();
            return;
        }
        state.push(line);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Queues a line even if the queue is full.
    pub(super) fn push_always(&self, line: &[u8]) {
        self.lock().push(line);
        self.0.changed.notify_all();
    }

    /// Takes the next line, which has to be reported as [written](Self::written) or [lost](Self::lost). Returns `None`
    /// after a while without one.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let state = self.lock();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, IDLE, |state| state.waiting.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let line = state.waiting.pop_front()?;
        state.bytes -= line.len();
        state.is_writing = true;
        Some(line)
    }

    /// Notes that the line that was taken was written. Returns how many were lost before, if the queue has been caught up
    /// with and nobody has been told yet.
    pub(super) fn written(&self) -> Option<u64> {
        let mut state = self.lock();
        state.is_writing = false;
        let lost =
            (state.waiting.is_empty() && state.lost > 0).then(|| std::mem::take(&mut state.lost));
        drop(state);
        self.0.changed.notify_all();
        lost
    }

    /// Notes that the line that was taken could not be written.
    pub(super) fn lost(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        state.lose();
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until everything has been written, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let give_up = Instant::now() + limit;
        let mut state = self.lock();
        while state.is_writing || !state.waiting.is_empty() {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.waiting.push_back(line.to_vec());
    }

    fn lose(&mut self) {
        self.lost += 1;
        counter!(metric::LOG_LINES_LOST).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_drops_lines_and_reports_them_once_it_is_empty() {
        let lines = Lines::default();
        for _ in 0..LINES_MAX + 3 {
            lines.push(b"line\n");
        }
        for left in (0..LINES_MAX).rev() {
            assert_eq!(lines.next().unwrap(), b"line\n");
            assert_eq!(lines.written(), (left == 0).then_some(3));
        }
        lines.push(b"line\n");
        lines.next().unwrap();
        assert_eq!(lines.written(), None);
    }

    #[test]
    fn queue_is_bounded_in_bytes() {
        let lines = Lines::default();
        let long = vec![b'x'; BYTES_MAX + 1];
        // Alone it fits, since whatever is longer than the bound would otherwise never be seen.
        lines.push(&long);
        lines.push(b"x");
        assert_eq!(lines.next().unwrap().len(), long.len());
        assert_eq!(lines.written(), Some(1));
    }

    #[test]
    fn flush_waits_no_longer_than_it_may() {
        let lines = Lines::default();
        lines.flush(Duration::from_mins(1));
        lines.push(b"x");
        lines.next().unwrap();
        lines.flush(Duration::from_millis(1));
        assert!(lines.lock().is_writing);
    }
}
