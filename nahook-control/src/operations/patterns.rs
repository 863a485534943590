//! Subscriptions of an endpoint by pattern.

use nahook_core::EventTypePattern;
use nahook_core::id::{EndpointId, PatternId, WorkspaceId};

use super::Management;
use crate::{Actor, ManagementError, ManagementStore, PatternRecord, Record, Select};

impl<S: ManagementStore> Management<S> {
    /// Returns the endpoint's patterns, the oldest first.
    pub async fn patterns(
        &self,
        workspace: &WorkspaceId,
        endpoint: EndpointId,
    ) -> Result<Vec<PatternRecord>, ManagementError> {
        let selection = [Select::Endpoint(endpoint), Select::PatternsOf(endpoint)];
        let rows = self.read(workspace, &selection).await?;
        if rows.endpoints.is_empty() {
            return Err(ManagementError::NotFound("endpoint"));
        }
        Ok(rows.patterns)
    }

    /// Subscribes the endpoint to every event type that the pattern matches, now and later. Answers the pattern's row, which is an
    /// older one if the endpoint has the pattern already.
    pub async fn subscribe_to_pattern(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        endpoint: EndpointId,
        pattern: EventTypePattern,
    ) -> Result<PatternRecord, ManagementError> {
        let reads = vec![
            Select::Endpoint(endpoint),
            Select::PatternCalled(endpoint, pattern.clone()),
        ];
        self.change(workspace, actor, reads, move |draft| {
            draft.endpoint(endpoint)?;
            if let Some(row) = draft.rows.patterns.first() {
                return Ok(row.clone());
            }
            let row = PatternRecord {
                id: PatternId::from_bits(draft.draw()),
                workspace: draft.workspace,
                endpoint,
                pattern: pattern.clone(),
                created_at: draft.now,
            };
            draft.create(Record::Pattern(row.clone()))?;
            Ok(row)
        })
        .await
    }

    /// Ends the endpoint's subscription to the pattern. Event types that it is subscribed to by name, or that another of its patterns
    /// matches, go on.
    pub async fn unsubscribe_from_pattern(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        endpoint: EndpointId,
        pattern: PatternId,
    ) -> Result<(), ManagementError> {
        let reads = vec![
            Select::Endpoint(endpoint),
            Select::Pattern(endpoint, pattern),
        ];
        self.change(workspace, actor, reads, move |draft| {
            draft.endpoint(endpoint)?;
            let mut rows = draft.rows.patterns.iter();
            let row = rows.next().ok_or(ManagementError::NotFound("pattern"))?;
            draft.remove(Record::Pattern(row.clone()));
            Ok(())
        })
        .await
    }
}
