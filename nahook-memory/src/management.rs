use std::sync::Arc;

use nahook_control::{
    AuditPage, AuditQuery, Change, ChangePlan, EndpointHealth, EndpointKind, EndpointPage,
    EndpointQuery, EndpointRecord, ManagementError, ManagementStore, Record, RowKind, Select,
    Snapshot,
};
use nahook_core::StoreError;
use nahook_core::id::WorkspaceId;

use super::MemoryStore;
use super::catalog::write;
use super::state::{State, row_count};

#[async_trait::async_trait]
impl ManagementStore for MemoryStore {
    async fn read(
        &self,
        workspace: &WorkspaceId,
        selection: &[Select],
    ) -> Result<Snapshot, StoreError> {
        Ok(selected(&self.state().catalog, *workspace, selection))
    }

    async fn change(
        &self,
        workspace: &WorkspaceId,
        plan: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        let mut state = self.state();
        let rows = selected(&state.catalog, *workspace, plan.reads());
        let planned = plan.plan(&rows)?;
        let mut catalog = state.catalog.clone();
        for change in &planned.changes {
            write(&mut catalog, change)?;
        }
        state.take_over(catalog, &planned.changes);
        state.audit.extend(planned.audit);
        Ok(planned.changes)
    }

    async fn audit_log(
        &self,
        workspace: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        let state = self.state();
        let matching: Vec<_> = state
            .audit
            .iter()
            .rev()
            .filter(|entry| {
                entry.workspace == *workspace
                    && query.from.is_none_or(|from| entry.created_at >= from)
                    && query.to.is_none_or(|to| entry.created_at < to)
                    && query.action.as_ref().is_none_or(|it| entry.action == *it)
                    && (query.resource_type.as_ref()).is_none_or(|it| entry.resource_type == *it)
                    && query.actor_kind.is_none_or(|it| entry.actor.kind == it)
            })
            .collect();
        let (offset, limit) = (saturating(query.offset), saturating(query.limit));
        Ok(AuditPage {
            total: matching.len() as u64,
            entries: matching
                .into_iter()
                .skip(offset)
                .take(limit)
                .cloned()
                .collect(),
        })
    }

    async fn find_endpoints(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let state = self.state();
        let has = |row: &EndpointRecord, text: &str| {
            let description = row.description.as_deref().unwrap_or_default();
            row.id.as_str() == text
                || description.contains(text)
                || row.kind == EndpointKind::Webhook && row.url.contains(text)
        };
        let endpoints = state.catalog.endpoints.iter().rev().filter(|row| {
            row.workspace == *workspace
                && (query.application.is_none() || row.application == query.application)
                && query.text.as_ref().is_none_or(|text| has(row, text))
                && match query.health {
                    None => true,
                    Some(EndpointHealth::Disabled) => !row.is_active,
                    Some(EndpointHealth::Failing) => {
                        row.is_active && state.failing_since.contains_key(&row.id)
                    }
                }
        });
        let (offset, limit) = (saturating(query.offset), saturating(query.limit));
        let page = endpoints.clone().skip(offset).take(limit);
        Ok(EndpointPage {
            endpoints: page.cloned().collect(),
            total: endpoints.count() as u64,
        })
    }
}

impl State {
    /// Puts the changed catalog in the place of the one before.
    pub(super) fn take_over(&mut self, catalog: Snapshot, changes: &[Change]) {
        // An endpoint that is enabled again starts afresh: its old failures must not disable it at the next one.
        for change in changes {
            self.take_over_portal_session(change);
            let Record::Endpoint(row) = &change.record else {
                continue;
            };
            let mut before = self.catalog.endpoints.iter();
            if row.is_active && before.any(|old| old.id == row.id && !old.is_active) {
                self.failing_since.remove(&row.id);
            }
        }
        self.catalog = catalog;
        self.look_ups.clear();
        self.members.clear();
    }
}

fn saturating(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[expect(clippy::too_many_lines, reason = "an arm for each selection")]
fn selected(catalog: &Snapshot, workspace: WorkspaceId, selection: &[Select]) -> Snapshot {
    let mut rows = Snapshot::default();
    /// Adds the rows of the workspace that the condition holds for, each once.
    macro_rules! take {
        ($kind:ident) => {
            take!($kind, |_row| true)
        };
        ($kind:ident, |$row:ident| $condition:expr) => {{
            for $row in &catalog.$kind {
                if $row.workspace == workspace && $condition && !rows.$kind.contains($row) {
                    rows.$kind.push($row.clone());
                }
            }
        }};
    }
    for select in selection {
        match select {
            Select::AnyEndpointIn(id) => {
                let mut endpoints = catalog.endpoints.iter();
                let any = endpoints
                    .find(|row| row.workspace == workspace && row.environment == *id)
                    .filter(|row| !rows.endpoints.contains(row));
                rows.endpoints.extend(any.cloned());
            }
            Select::ApiKey(id) => take!(api_keys, |row| row.id == *id),
            Select::ApiKeyCalled(name) => take!(api_keys, |row| row.name == *name),
            Select::ApiKeys => take!(api_keys),
            Select::ApplicationsLike { text, limit } => {
                let text = text.to_ascii_lowercase();
                let has = |field: &str| field.to_ascii_lowercase().contains(&text);
                let like = catalog.applications.iter().filter(|row| {
                    let is_like = has(&row.name)
                        || row.external_id.as_deref().is_some_and(has)
                        || row.id.as_str().eq_ignore_ascii_case(&text);
                    row.workspace == workspace && is_like
                });
                for row in like.take(saturating(*limit)) {
                    if !rows.applications.contains(row) {
                        rows.applications.push(row.clone());
                    }
                }
            }
            Select::Applications { offset, limit } => {
                let of_workspace = catalog.applications.iter();
                let page = of_workspace
                    .filter(|row| row.workspace == workspace)
                    .skip(saturating(*offset))
                    .take(saturating(*limit));
                for row in page {
                    if !rows.applications.contains(row) {
                        rows.applications.push(row.clone());
                    }
                }
            }
            Select::Application(id) => take!(applications, |row| row.id == *id),
            Select::ApplicationCalled(name) => {
                take!(applications, |row| row.external_id.as_ref() == Some(name));
            }
            Select::Endpoint(id) => take!(endpoints, |row| row.id == *id),
            Select::Endpoints => take!(endpoints),
            Select::EndpointCountOf(id) => {
                let mut applications = catalog.applications.iter();
                let max = applications
                    .find(|row| row.workspace == workspace && row.id == *id)
                    .and_then(|row| row.max_endpoints)
                    .unwrap_or(0);
                let endpoints = catalog.endpoints.iter();
                let of_it = endpoints.filter(|row| row.application == Some(*id));
                let count = of_it.take(max as usize).count() as u64;
                rows.endpoint_counts.insert(*id, count);
            }
            Select::EndpointsOf(id) => take!(endpoints, |row| row.application == Some(*id)),
            Select::Environments => take!(environments),
            Select::EventTypesWith(ids) => take!(event_types, |row| ids.contains(&row.id)),
            Select::EventTypes => take!(event_types),
            Select::ManagementToken(id) => take!(management_tokens, |row| row.id == *id),
            Select::ManagementTokenCalled(name) => {
                take!(management_tokens, |row| row.name == *name);
            }
            Select::ManagementTokens => take!(management_tokens),
            Select::Pattern(endpoint, id) => {
                take!(patterns, |row| row.endpoint == *endpoint && row.id == *id);
            }
            Select::PatternCalled(endpoint, pattern) => {
                take!(patterns, |row| row.endpoint == *endpoint
                    && row.pattern == *pattern);
            }
            Select::Patterns => take!(patterns),
            Select::PatternsOf(id) => take!(patterns, |row| row.endpoint == *id),
            Select::Publication(environment, event_type) => {
                take!(publications, |row| row.environment == *environment
                    && row.event_type == *event_type);
            }
            Select::PublicationsIn(id) => take!(publications, |row| row.environment == *id),
            Select::RowCounts => {
                for kind in RowKind::ALL {
                    rows.row_counts
                        .insert(*kind, row_count(catalog, workspace, *kind));
                }
            }
            Select::SubscriberCounts(ids) => {
                for row in &catalog.subscribers {
                    let is_wanted = ids.as_ref().is_none_or(|ids| ids.contains(&row.event_type));
                    if row.workspace == workspace && is_wanted {
                        *rows.subscriber_counts.entry(row.event_type).or_default() += 1;
                    }
                }
            }
            Select::SubscribersTo(id) => take!(subscribers, |row| row.event_type == *id),
            Select::Subscriptions(endpoint, ids) => {
                take!(subscriptions, |row| row.endpoint == *endpoint
                    && ids.contains(&row.event_type));
            }
            Select::SubscriptionsOf(id) => take!(subscriptions, |row| row.endpoint == *id),
            Select::Workspace => {
                let mut workspaces = catalog.workspaces.iter();
                rows.workspaces
                    .extend(workspaces.find(|row| row.id == workspace).cloned());
            }
        }
    }
    rows
}
