//! Broken management, lists and redelivery.

use std::sync::Arc;

use nahook_control::{
    AuditPage, AuditQuery, Change, ChangePlan, EndpointPage, EndpointQuery, KeyState,
    ManagementError, ManagementStore, Planned, Record, Select, Snapshot, Verb,
};
use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{StoreError, Timestamp};
use nahook_queue::{
    DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats, Redelivered, Redelivery,
    RedeliveryRequest, StatsQuery,
};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

/// A plan whose decision is known.
struct Decided(Planned);

impl ChangePlan for Decided {
    fn reads(&self) -> &[Select] {
        &[]
    }

    fn plan(&self, _: &Snapshot) -> Result<Planned, ManagementError> {
        Ok(self.0.clone())
    }
}

impl Broken {
    async fn decided(
        &self,
        workspace: &WorkspaceId,
        planned: Planned,
    ) -> Result<Vec<Change>, ManagementError> {
        let plan: Arc<dyn ChangePlan> = Arc::new(Decided(planned));
        self.inner.change(workspace, &plan).await
    }

    fn managed_workspace(&self, workspace: &WorkspaceId) -> WorkspaceId {
        if self.has(ManagesOtherWorkspaces) {
            declare::workspace_id("ws_shop")
        } else {
            *workspace
        }
    }
}

#[async_trait::async_trait]
impl ManagementStore for Broken {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        let mut selection = selection.to_vec();
        if self.has(ForgetsTheOffset) {
            for select in &mut selection {
                if let Select::Applications { offset, .. } = select {
                    *offset = 0;
                }
            }
        }
        let workspace = self.managed_workspace(workspace);
        let mut rows = self.inner.read(&workspace, &selection).await?;
        match self.bug {
            ReadsNewestFirst => rows.endpoints.reverse(),
            ReadsNoPatterns => rows.patterns.clear(),
            CountsNoRows => rows.row_counts.clear(),
            CountsNobody => rows.subscriber_counts.clear(),
            ForgetsThePreviousSecret => {
                for row in &mut rows.endpoints {
                    row.previous_secret = None;
                }
            }
            ListsOtherKeys if selection.contains(&Select::ApiKeys) => {
                for other in nahook_control::Catalog::workspaces(&self.inner).await? {
                    let keys = self.inner.read(&other.id, &[Select::ApiKeys]).await?;
                    rows.api_keys.extend(keys.api_keys);
                }
            }
            _ => {}
        }
        Ok(rows)
    }

    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        match self.bug {
            WritesHalf => {
                let rows = self.inner.read(workspace, plan.reads()).await?;
                let planned = plan.plan(&rows)?;
                for change in &planned.changes {
                    let one = Planned {
                        changes: vec![change.clone()],
                        audit: Vec::new(),
                    };
                    self.decided(workspace, one).await?;
                }
                Ok(planned.changes)
            }
            DecidesByOldRows => {
                let rows = self.inner.read(workspace, plan.reads()).await?;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                self.decided(workspace, plan.plan(&rows)?).await
            }
            ForgetsToAudit => {
                let rows = self.inner.read(workspace, plan.reads()).await?;
                let mut planned = plan.plan(&rows)?;
                planned.audit.clear();
                self.decided(workspace, planned).await
            }
            OnlyDisablesTheRemoved => {
                let rows = self.inner.read(workspace, plan.reads()).await?;
                let mut planned = plan.plan(&rows)?;
                for change in &mut planned.changes {
                    if let (Verb::Remove, Record::Endpoint(row)) = (change.verb, &mut change.record)
                    {
                        row.is_active = false;
                        change.verb = Verb::Update;
                    }
                }
                self.decided(workspace, planned).await
            }
            RevivesKeys => {
                let mut rows = self.inner.read(workspace, plan.reads()).await?;
                for key in &mut rows.api_keys {
                    key.state = KeyState::Disabled;
                }
                self.decided(workspace, plan.plan(&rows)?).await
            }
            ShowsNothingToPlans => {
                let planned = plan.plan(&Snapshot::default())?;
                self.decided(workspace, planned).await
            }
            _ => {
                let workspace = self.managed_workspace(workspace);
                self.inner.change(&workspace, plan).await
            }
        }
    }

    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        let mut query = query.clone();
        if self.has(AuditsUnfiltered) {
            (query.from, query.to, query.resource_type) = (None, None, None);
        }
        let workspace = self.managed_workspace(workspace);
        let mut page = self.inner.audit_log(&workspace, &query).await?;
        match self.bug {
            AuditsOldestFirst => page.entries.reverse(),
            CountsThePage => page.total = page.entries.len() as u64,
            _ => {}
        }
        Ok(page)
    }

    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let mut query = query.clone();
        if self.has(FindsAnyHealth) {
            query.health = None;
        }
        let workspace = self.managed_workspace(workspace);
        let mut page = self.inner.find_endpoints(&workspace, &query).await?;
        if self.has(CountsThePage) {
            page.total = page.endpoints.len() as u64;
        }
        Ok(page)
    }
}

#[async_trait::async_trait]
impl DeliverySearch for Broken {
    async fn stored_len(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        self.inner.stored_len(workspace).await
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        let mut query = query.clone();
        match self.bug {
            FindsAnyStatus => query.status = None,
            FindsFromTheStart => query.before = None,
            FindsTheOld => query.since = None,
            FindsOtherWorkspaces => query.workspace = declare::workspace_id("ws_shop"),
            FindsMore => query.limit = query.limit.saturating_add(1),
            _ => {}
        }
        let mut found = self.inner.deliveries(&query).await?;
        if self.has(FindsOldestFirst) {
            found.reverse();
        }
        Ok(found)
    }

    async fn stats(&self, query: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        let mut query = *query;
        match self.bug {
            CountsEveryEndpoint => query.endpoint = None,
            CountsWithoutBound => query.count_max = u64::MAX,
            _ => {}
        }
        let mut stats = self.inner.stats(&query).await?;
        match self.bug {
            CountsLeasedAsPending => stats.pending += std::mem::take(&mut stats.delivering),
            ForgetsTheOldest => stats.oldest_due_at = None,
            _ => {}
        }
        Ok(stats)
    }
}

#[async_trait::async_trait]
impl Redelivery for Broken {
    async fn redeliver(
        &self,
        id: DeliveryId,
        workspace: &WorkspaceId,
    ) -> Result<Redelivered, StoreError> {
        if self.has(OnlySaysItQueues) {
            return Ok(Redelivered::Queued);
        }
        let workspace = if self.has(RedeliversForOthers) {
            declare::workspace_id("ws_shop")
        } else {
            *workspace
        };
        let redelivered = self.inner.redeliver(id, &workspace).await?;
        Ok(match redelivered {
            Redelivered::NotGivenUp(_) if self.has(HidesHowItStands) => Redelivered::NotFound,
            other => other,
        })
    }

    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError> {
        let mut request = *request;
        match self.bug {
            RedeliversTheOld => request.since = Timestamp::default(),
            RedeliversAllAtOnce => request.limit = usize::MAX,
            _ => {}
        }
        self.inner.redeliver_since(&request).await
    }
}
