//! Calling the queue and the directory: bounded in time, and a panic is an error.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use nahook_control::{EndpointDirectory, EndpointTarget};
use nahook_core::id::EndpointId;
use nahook_core::{StoreError, StoreErrorKind};

use super::contain::contain;
use super::observe;

/// Makes the call that `start` begins. Running out of time counts as out of reach, a panic as an internal error, also one
/// from before there is a future.
pub(super) async fn bounded<T, F: Future<Output = Result<T, StoreError>>>(
    timeout: Duration,
    start: impl FnOnce() -> F,
) -> Result<T, StoreError> {
    let call = contain(async { start().await });
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panicked)) => Err(StoreError::internal(panicked)),
        Err(elapsed) => Err(StoreError::unavailable(elapsed)),
    }
}

/// Answer of the directory about some endpoints.
#[derive(Debug, Default)]
pub(super) struct LookUp {
    /// `None` for one that is gone.
    pub(super) found: HashMap<EndpointId, Option<Arc<EndpointTarget>>>,
    /// Those about which it failed, while it could answer for others.
    pub(super) failed: Vec<EndpointId>,
    /// The directory is out of reach: what is neither found nor failed was not looked up.
    pub(super) is_down: bool,
}

/// Looks endpoints up, all in one call. If that fails for another reason than that the directory is out of reach, one by
/// one: an endpoint that the directory cannot read must not hold up the others.
pub(super) async fn look_up(
    directory: &impl EndpointDirectory,
    ids: &[EndpointId],
    timeout: Duration,
) -> LookUp {
    let mut answer = LookUp::default();
    match targets(directory, ids, timeout).await {
        Ok(targets) => {
            answer.found = ids.iter().copied().zip(targets).collect();
            return answer;
        }
        Err(StoreErrorKind::Internal) => {}
        Err(_) => {
            answer.is_down = true;
            return answer;
        }
    }
    for id in ids {
        match targets(directory, std::slice::from_ref(id), timeout).await {
            Ok(targets) => answer
                .found
                .extend(targets.into_iter().map(|target| (*id, target))),
            Err(StoreErrorKind::Internal) => answer.failed.push(*id),
            Err(_) => {
                answer.is_down = true;
                return answer;
            }
        }
    }
    // Nobody could be looked up: that is not the endpoints' doing.
    answer.is_down = answer.found.is_empty() && ids.len() > 1;
    answer
}

async fn targets(
    directory: &impl EndpointDirectory,
    ids: &[EndpointId],
    timeout: Duration,
) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreErrorKind> {
    let answer = bounded(timeout, || directory.targets(ids)).await;
    let answer = answer.and_then(|targets| {
        if targets.len() == ids.len() {
            Ok(targets)
        } else {
            Err(StoreError::internal("not one answer per endpoint"))
        }
    });
    answer.map_err(|error| {
        observe::call_failed("look_up", &error, "nothing is sent");
        error.kind()
    })
}
