//! State of a connection between and within its requests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::requests::UnderWay;

/// State of one connection: it decides how long the server waits, and which connection makes room for another.
pub(crate) struct Pace {
    state: Mutex<State>,
    evicted: Notify,
}

struct State {
    phase: Phase,
    /// The body of the latest request has not been read to its end.
    is_unread: bool,
    /// A request with a valid key or token has been made on this connection.
    is_known: bool,
    is_evicted: bool,
    /// Present while a request of a known caller is under way.
    under_way: Option<UnderWay>,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Connected then, and has sent nothing.
    Fresh(Instant),
    /// A request's head has been arriving since then; the first one since the connection was made.
    Head(Instant),
    /// A request is under way since then; the routes have deadlines of their own.
    Busy(Instant),
    /// Nothing has been asked since then.
    Idle(Instant),
}

/// Order in which connections are closed to make room: the least class first, and in it the one that has been at it for longest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Class {
    /// Without a request under way; no key or token has been shown on it.
    Stranger,
    /// With a request under way that has shown no key or token yet, or none that is valid.
    StrangerAsking,
    /// Without an authenticated request under way, on a connection that had one.
    Known,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Fresh(Instant::now()),
                is_unread: false,
                is_known: false,
                is_evicted: false,
                under_way: None,
            }),
            evicted: Notify::new(),
        }
    }

    /// Begins a request. Returns false if the connection is being closed, so that nothing of it may be begun.
    pub(crate) fn begin_request(&self, has_body: bool) -> bool {
        let mut state = self.state();
        state.phase = Phase::Busy(Instant::now());
        state.is_unread = has_body;
        !state.is_evicted
    }

    /// Keeps the request under way from being closed for the sake of others: its caller is known. Returns false if it is
    /// too late for that.
    pub(super) fn authenticate(&self, under_way: UnderWay) -> bool {
        let mut state = self.state();
        state.under_way = Some(under_way);
        state.is_known = true;
        !state.is_evicted
    }

    pub(crate) fn end_body(&self) {
        self.state().is_unread = false;
    }

    pub(crate) fn end_answer(&self) {
        let mut state = self.state();
        state.phase = Phase::Idle(Instant::now());
        let under_way = state.under_way.take();
        drop((state, under_way));
    }

    /// Makes the connection the first to be closed: all that is left is to let its client read the last answer.
    pub(crate) fn begin_linger(&self) {
        let mut state = self.state();
        state.phase = Phase::Idle(Instant::now());
        state.is_known = false;
    }

    pub(crate) fn add_bytes(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Fresh(since) => state.phase = Phase::Head(since),
            Phase::Idle(_) => state.phase = Phase::Head(Instant::now()),
            Phase::Head(_) | Phase::Busy(_) => {}
        }
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.state().is_unread
    }

    /// Returns true if a head has begun to arrive and has not ended.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self.phase(), Phase::Head(_))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Returns the class and the instant by which the connection is closed to make room, unless it may not be.
    pub(crate) fn rank(&self) -> Option<(Class, Instant)> {
        self.state().rank()
    }

    /// Has the connection closed if its rank is still `rank`. Returns true if it is.
    pub(crate) fn evict(&self, rank: (Class, Instant)) -> bool {
        let mut state = self.state();
        let is_due = state.rank() == Some(rank);
        if is_due {
            state.is_evicted = true;
            self.evicted.notify_one();
        }
        is_due
    }

    /// Waits until the connection has to close to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Nothing panics while holding it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rank(&self) -> Option<(Class, Instant)> {
        let (class, since) = match self.phase {
            _ if self.is_evicted || self.under_way.is_some() => return None,
            Phase::Busy(since) => (Class::StrangerAsking, since),
            Phase::Fresh(since) | Phase::Head(since) | Phase::Idle(since) => {
                (Class::Stranger, since)
            }
        };
        Some((if self.is_known { Class::Known } else { class }, since))
    }
}
