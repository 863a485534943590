//! Who asks, and what that lets them do.

use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;

use crate::{ApiKeyId, EndpointId, EnvironmentId, WorkspaceId};

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
    /// What the workspace's plan allows.
    pub plan: Plan,
}

/// The limits of a workspace's plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Largest payload in bytes (contract: 256 KiB unless set).
    pub payload_len_max: usize,
    /// What all keys of the workspace may spend together; unlimited when absent.
    pub workspace_rate: Option<Rate>,
    /// What each key may spend; unlimited when absent.
    pub key_rate: Option<Rate>,
}

impl Plan {
    /// The payload cap where a plan sets none: 256 KiB.
    pub const PAYLOAD_LEN_MAX_DEFAULT: usize = 256 * 1024;
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            payload_len_max: Self::PAYLOAD_LEN_MAX_DEFAULT,
            workspace_rate: None,
            key_rate: None,
        }
    }
}

/// A sustained rate with a burst: so many in each period, and so many at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    /// How long one token takes to come back.
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

    /// How long one token takes to come back.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How many tokens there are at most.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }
}

/// Proof that a caller may fan out, and how far: only made from a [`Caller`] whose key is not bound to an endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FanOutScope {
    workspace: WorkspaceId,
    environment: Option<EnvironmentId>,
}

/// The key is bound to one endpoint, so it may not fan out.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this API key is bound to one endpoint and cannot trigger events")]
pub struct NotWorkspaceScoped;

impl FanOutScope {
    /// The workspace that bounds the fan-out.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// The environment that bounds it further, if the key has one.
    pub fn environment(&self) -> Option<EnvironmentId> {
        self.environment
    }
}

impl TryFrom<&Caller> for FanOutScope {
    type Error = NotWorkspaceScoped;
    fn try_from(caller: &Caller) -> Result<Self, NotWorkspaceScoped> {
        match caller.endpoint {
            Some(_) => Err(NotWorkspaceScoped),
            None => Ok(Self {
                workspace: caller.workspace,
                environment: caller.environment,
            }),
        }
    }
}
