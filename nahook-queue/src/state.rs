//! The state machine of a delivery: every transition, and the state's forms on the wire and on disk.
//!
//! ```text
//!              ┌─▶ Delivered
//!   Pending ───┼─▶ Failed ───────┐
//!      │       └─▶ DeadLetter ───┤ queued again
//!      ▼            ▲            │
//!    Retry ◀────────┴────────────┘  (Pending, if it was never attempted)
//! ```
//!
//! A lease is no state: it lies over `Pending` or `Retry` while a worker attempts the delivery, and its end either moves the
//! delivery or, by [`Next::Release`], leaves it where it was.

use nahook_core::Timestamp;

/// State of a delivery between leases.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryState {
    /// Every attempt of the schedule has failed.
    DeadLetter,
    /// A receiver took it.
    Delivered,
    /// Given up before the schedule's end.
    Failed,
    /// Waiting for its first attempt.
    Pending,
    /// To be attempted again then.
    Retry(Timestamp),
}

/// The next step of a delivery, as a worker decides it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Every attempt of the schedule has failed.
    DeadLetter,
    /// A receiver took it.
    Delivered,
    /// Given up before the schedule's end: the endpoint is gone or disabled.
    Failed,
    /// Not attempted after all: leasable again at once.
    Release,
    /// To be attempted again then.
    Retry(Timestamp),
}

/// The status of a delivery (contract, section 2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DeliveryStatus {
    /// Every attempt of the schedule has failed.
    DeadLetter,
    /// A receiver took it.
    Delivered,
    /// A worker is attempting it.
    Delivering,
    /// Given up before the schedule's end.
    Failed,
    /// Waiting for its first attempt.
    Pending,
    /// Waiting for a further attempt.
    ScheduledRetry,
}

impl DeliveryState {
    /// The state after a lease that ended so. `None` if the delivery has ended: nothing moves it then but
    /// [`queued_again`](Self::queued_again).
    pub const fn settled(self, next: Next) -> Option<Self> {
        if self.has_ended() {
            return None;
        }
        match next.state() {
            None => Some(self),
            moved => moved,
        }
    }

    /// The state of a delivery that was given up after so many attempts and is queued again, due `now`. `None` if it was not
    /// given up.
    pub const fn queued_again(self, attempts: u32, now: Timestamp) -> Option<Self> {
        match self {
            Self::DeadLetter | Self::Failed if attempts == 0 => Some(Self::Pending),
            Self::DeadLetter | Self::Failed => Some(Self::Retry(now)),
            _ => None,
        }
    }

    /// The state of that status; a retry is due at the given time. `None` for a delivery that is being attempted.
    pub const fn of(status: DeliveryStatus, retry_at: Timestamp) -> Option<Self> {
        Some(match status {
            DeliveryStatus::DeadLetter => Self::DeadLetter,
            DeliveryStatus::Delivered => Self::Delivered,
            DeliveryStatus::Delivering => return None,
            DeliveryStatus::Failed => Self::Failed,
            DeliveryStatus::Pending => Self::Pending,
            DeliveryStatus::ScheduledRetry => Self::Retry(retry_at),
        })
    }

    /// Returns true if no further attempt is due.
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Retry(_))
    }

    /// Time at which a further attempt is due.
    pub const fn retry_at(self) -> Option<Timestamp> {
        match self {
            Self::Retry(at) => Some(at),
            _ => None,
        }
    }

    /// The status that the log shows while no worker has leased it.
    pub const fn status(self) -> DeliveryStatus {
        match self {
            Self::DeadLetter => DeliveryStatus::DeadLetter,
            Self::Delivered => DeliveryStatus::Delivered,
            Self::Failed => DeliveryStatus::Failed,
            Self::Pending => DeliveryStatus::Pending,
            Self::Retry(_) => DeliveryStatus::ScheduledRetry,
        }
    }

    /// The number by which stores keep it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Retry(_) => 1,
            Self::Delivered => 2,
            Self::Failed => 3,
            Self::DeadLetter => 4,
        }
    }

    /// Returns the rank by which the log chooses between two states after the same number of attempts: the higher one is
    /// shown.
    ///
    /// If two workers race on a delivery, success wins.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Retry(_) => 1,
            Self::Failed => 2,
            Self::DeadLetter => 3,
            Self::Delivered => 4,
        }
    }
}

impl Next {
    /// The state that this step leads to; `None` if it leaves the delivery as it was.
    pub const fn state(self) -> Option<DeliveryState> {
        Some(match self {
            Self::DeadLetter => DeliveryState::DeadLetter,
            Self::Delivered => DeliveryState::Delivered,
            Self::Failed => DeliveryState::Failed,
            Self::Release => return None,
            Self::Retry(at) => DeliveryState::Retry(at),
        })
    }
}

impl DeliveryStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::DeadLetter,
        Self::Delivered,
        Self::Delivering,
        Self::Failed,
        Self::Pending,
        Self::ScheduledRetry,
    ];

    /// Returns true if delivery was abandoned (failed or dead-lettered).
    pub const fn is_given_up(self) -> bool {
        matches!(self, Self::DeadLetter | Self::Failed)
    }

    /// The status while a worker has leased the delivery, or has not. What has ended is not leased, whatever was read first.
    #[must_use]
    pub const fn while_leased(self, is_leased: bool) -> Self {
        match self {
            Self::Pending | Self::ScheduledRetry if is_leased => Self::Delivering,
            stored => stored,
        }
    }

    /// The status on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::Delivered => "delivered",
            Self::Delivering => "delivering",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::ScheduledRetry => "scheduled_retry",
        }
    }

    /// The status that is called so on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// The number by which stores keep it; `None` for a delivery that is being attempted, which its lease tells.
    pub fn code(self) -> Option<u8> {
        DeliveryState::of(self, Timestamp::default()).map(DeliveryState::code)
    }

    /// The status that stores keep as that number.
    pub fn from_code(code: i64) -> Option<Self> {
        let is_code = |status: &Self| status.code().map(i64::from) == Some(code);
        Self::ALL.into_iter().find(is_code)
    }
}

#[cfg(test)]
mod tests;
