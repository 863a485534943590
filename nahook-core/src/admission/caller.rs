//! Callers, their plans and their rates.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::Scope;
use crate::error::NotWorkspaceScoped;
use crate::id::{ApiKeyId, EndpointId, EnvironmentId, WorkspaceId};

/// An authenticated ingestion key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The key's identity.
    pub key: ApiKeyId,
    /// The workspace the key belongs to.
    pub workspace: WorkspaceId,
    /// The only environment the key may reach; all of the workspace's when absent.
    pub environment: Option<EnvironmentId>,
    /// The only endpoint the key may send to; such a key may not fan out.
    pub endpoint: Option<EndpointId>,
    /// Limits of the workspace's plan.
    pub plan: Plan,
}

/// The limits of a workspace's plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Largest payload in bytes (contract: 256 KiB unless set).
    pub payload_len_max: usize,
    /// Rate that all keys of the workspace share; unlimited when absent.
    pub workspace_rate: Option<Rate>,
    /// Rate of each key; unlimited when absent.
    pub key_rate: Option<Rate>,
    /// Rate of the workspace's deliveries; what the front end grants when absent.
    pub delivery_rate: Option<Rate>,
    /// Largest number of deliveries that are queued and not settled.
    pub pending_max: u32,
    /// Largest number of bytes of the payloads that are kept.
    pub stored_len_max: u64,
    /// Largest number of endpoints.
    pub endpoints_max: u32,
}

impl Plan {
    /// The payload cap where a plan sets none: 256 KiB.
    pub const PAYLOAD_LEN_MAX_DEFAULT: usize = 256 * 1024;
    /// Deliveries that may be pending where a plan sets no maximum.
    pub const PENDING_MAX_DEFAULT: u32 = 10_000_000;
    /// Bytes that may be kept where a plan sets no maximum: 1 TiB.
    pub const STORED_LEN_MAX_DEFAULT: u64 = 1 << 40;
    /// Endpoints that there may be where a plan sets no maximum.
    pub const ENDPOINTS_MAX_DEFAULT: u32 = 100_000;
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            payload_len_max: Self::PAYLOAD_LEN_MAX_DEFAULT,
            workspace_rate: None,
            key_rate: None,
            delivery_rate: None,
            pending_max: Self::PENDING_MAX_DEFAULT,
            stored_len_max: Self::STORED_LEN_MAX_DEFAULT,
            endpoints_max: Self::ENDPOINTS_MAX_DEFAULT,
        }
    }
}

/// A sustained rate with a burst: so many in each period, and so many at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    /// Time in which one token comes back.
    interval: Duration,
    burst: NonZeroU32,
}

impl Rate {
    /// `count` in each `period`, at most `burst` at once; `None` if that is less than a token in 2⁶³ ns or more than one
    /// in a nanosecond.
    pub fn new(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Option<Self> {
        let interval = period.checked_div(count.get())?;
        let fits = interval.as_nanos() <= u128::from(u64::MAX / 2);
        (!interval.is_zero() && fits).then_some(Self { interval, burst })
    }

    /// `count` a second, at most as many at once; `None` above 10⁹.
    pub fn per_second(count: NonZeroU32) -> Option<Self> {
        Self::new(count, Duration::from_secs(1), count)
    }

    /// Returns the time in which one token comes back.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the largest number of tokens.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }
}

impl Caller {
    /// The part of the workspace that the key reaches.
    pub fn scope(&self) -> Scope {
        Scope {
            workspace: self.workspace,
            environment: self.environment,
        }
    }

    /// The part that it may fan out to: none if it is bound to one endpoint.
    pub fn fan_out_scope(&self) -> Result<Scope, NotWorkspaceScoped> {
        match self.endpoint {
            Some(_) => Err(NotWorkspaceScoped),
            None => Ok(self.scope()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    #[test]
    fn so_many_a_second_may_come_at_once() {
        let ten = NonZeroU32::new(10).unwrap();
        let rate = Rate::per_second(ten).unwrap();
        assert_eq!(
            (rate.interval(), rate.burst()),
            (Duration::from_millis(100), ten)
        );
    }

    #[test]
    fn interval_is_a_nanosecond_at_least_and_half_of_what_64_bits_hold_at_most() {
        let longest = Duration::from_nanos(u64::MAX / 2);
        let two = NonZeroU32::new(2).unwrap();
        for (count, period, fits) in [
            (ONE, Duration::from_nanos(1), true),
            (two, Duration::from_nanos(1), false),
            (ONE, longest, true),
            (ONE, longest + Duration::from_nanos(1), false),
        ] {
            assert_eq!(Rate::new(count, period, ONE).is_some(), fits, "{period:?}");
        }
    }
}
