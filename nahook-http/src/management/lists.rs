//! Bounds on the memory that lists take: rows have bounds of their own, their number has none.

use bytes::Bytes;
use nahook_core::id::WorkspaceId;
use tokio::time::Instant;

use crate::{BudgetKind, Budgets, Permit, Refused};

/// A list of so many bytes or fewer is not charged: slow clients of large ones must not hold it up.
const SMALL: usize = 64 * 1024;

/// Waits for room for the list, and gives it back once the bytes were sent or dropped.
pub(super) async fn hold(
    budgets: &Budgets,
    workspace: WorkspaceId,
    json: Vec<u8>,
    deadline: Instant,
) -> Result<Bytes, Refused> {
    if json.len() <= SMALL {
        return Ok(json.into());
    }
    let (kind, len) = (BudgetKind::ListBytes, json.len() as u64);
    let permit = budgets.take(workspace, kind, len, deadline).await?;
    Ok(Bytes::from_owner(Held {
        _permit: permit,
        json,
    }))
}

struct Held {
    json: Vec<u8>,
    _permit: Permit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_lists_wait_until_others_of_their_workspace_were_sent() {
        let (budgets, [one, two]) = (Budgets::default(), [1, 2].map(WorkspaceId::from_bits));
        let held = |workspace, len| {
            let soon = Instant::now() + Duration::from_secs(5);
            hold(&budgets, workspace, vec![b'x'; len], soon)
        };
        let first = held(one, 10_000_000).await.unwrap();
        let part = first.slice(..10);
        assert_eq!(part, "xxxxxxxxxx");
        let began = Instant::now();
        let refused = held(one, 10_000_000).await.unwrap_err();
        assert!(refused.is_own_share && began.elapsed() == Duration::from_secs(5));
        assert_eq!(held(one, 65_536).await.unwrap().len(), 65_536);
        assert_eq!(held(two, 10_000_000).await.unwrap().len(), 10_000_000);
        let waiting = held(one, 10_000_000);
        drop((first, part));
        assert_eq!(waiting.await.unwrap().len(), 10_000_000);
        // One that is larger than all the room has it alone.
        assert_eq!(held(one, 70_000_000).await.unwrap().len(), 70_000_000);
    }
}
