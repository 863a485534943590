//! Broken keys and endpoints.

use std::sync::Arc;

use nahook_control::{
    EndpointDirectory, EndpointTarget, HealthReport, HealthState, KeyEntry, KeyHash, KeyStore,
};
use nahook_core::StoreError;
use nahook_core::admission::Caller;
use nahook_core::id::{EndpointId, ManagementTokenId};

use super::{Broken, Bug::*};

#[async_trait::async_trait]
impl KeyStore for Broken {
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError> {
        let mut found = self.inner.api_key(hash).await?;
        if let Some(entry) = &mut found {
            self.memory.lock().unwrap().keys.insert(*hash, *entry);
            match self.bug {
                DisabledIsActive => entry.disabled = false,
                ForgetsWhatAKeyIsBoundTo => entry.identity.environment = None,
                ForgetsThePlan => entry.identity.plan = nahook_core::admission::Plan::default(),
                _ => {}
            }
            if self.has(DisabledIsGone) && entry.disabled {
                found = None;
            }
        } else if self.has(RevokedIsDisabled) {
            found = self.memory.lock().unwrap().keys.get(hash).copied();
        }
        Ok(found)
    }

    async fn management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<nahook_control::TokenHolder>>, StoreError> {
        let found = self.inner.management_token(hash).await?;
        if self.has(TokensAreKeys)
            && let Some(key) = self.inner.api_key(hash).await?
        {
            return Ok(Some(KeyEntry {
                identity: nahook_control::TokenHolder {
                    token: ManagementTokenId::from_bits(1),
                    workspace: key.identity.workspace,
                    is_read_only: false,
                },
                disabled: false,
            }));
        }
        Ok(found)
    }
}

#[async_trait::async_trait]
impl EndpointDirectory for Broken {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        let mut found = self.inner.targets(ids).await?;
        match self.bug {
            SortsTargets => found.sort_by_key(|target| target.as_ref().map(|target| target.id)),
            SkipsGoneTargets => found.retain(Option::is_some),
            _ => {}
        }
        Ok(found)
    }

    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        for report in reports {
            match report.state {
                HealthState::FailingSince(_) if self.has(LatestFailureCounts) => {
                    let healthy = HealthReport {
                        state: HealthState::Healthy,
                        ..*report
                    };
                    self.inner.report(&[healthy]).await?;
                }
                HealthState::Disable | HealthState::Healthy if self.has(IgnoresReports) => continue,
                _ => {}
            }
            self.inner.report(&[*report]).await?;
        }
        Ok(())
    }
}
