//! Event types.

use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

use super::Management;
use crate::rules::event_type;
use crate::{Actor, EventTypeRecord, ManagementError, ManagementStore, Record, Select, Snapshot};

/// An event type, and how many endpoints are subscribed to it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EventTypeView {
    /// The event type.
    pub event_type: EventTypeRecord,
    /// Number of endpoints subscribed by name or by pattern, inactive ones counted.
    pub subscriber_count: u64,
}

impl<S: ManagementStore> Management<S> {
    /// The workspace's event types, the oldest first.
    pub async fn event_types(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<EventTypeView>, StoreError> {
        let selection = [Select::EventTypes, Select::SubscriberCounts(None)];
        Ok(views(self.read(workspace, &selection).await?))
    }

    /// The event type.
    pub async fn event_type(
        &self,
        workspace: &WorkspaceId,
        id: EventTypeId,
    ) -> Result<EventTypeView, ManagementError> {
        let found = views(self.read(workspace, &with_count(id)).await?).pop();
        found.ok_or(ManagementError::NotFound("event type"))
    }

    /// Makes an event type. In the default environment it is published from the start, and the endpoints whose patterns match it are
    /// subscribed.
    pub async fn create_event_type(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        name: EventTypeName,
        description: Option<String>,
    ) -> Result<EventTypeView, ManagementError> {
        let reads = vec![Select::Workspace];
        let made = self.change(workspace, actor, reads, move |draft| {
            event_type::DESCRIPTION.check(description.as_deref())?;
            let event_type = EventTypeRecord {
                id: EventTypeId::from_bits(draft.draw()),
                workspace: draft.workspace,
                name: name.clone(),
                description: description.clone(),
                created_at: draft.now,
            };
            draft.create(Record::EventType(event_type.clone()))?;
            Ok(event_type)
        });
        // Its id has just been drawn: only the name can be taken.
        let event_type = made.await.map_err(|error| match error {
            ManagementError::Conflict(_) => ManagementError::conflict("the name is taken"),
            other => other,
        })?;
        self.counted(workspace, event_type).await
    }

    /// Changes the event type's description; `None` keeps it, `Some(None)` removes it.
    pub async fn update_event_type(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EventTypeId,
        description: Option<Option<String>>,
    ) -> Result<EventTypeView, ManagementError> {
        let reads = vec![Select::EventTypesWith(vec![id])];
        let changed = self.change(workspace, actor, reads, move |draft| {
            let mut event_type = draft.event_type(id)?.clone();
            if let Some(description) = description.as_ref()
                && *description != event_type.description
            {
                event_type::DESCRIPTION.check(description.as_deref())?;
                event_type.description.clone_from(description);
                draft.update(Record::EventType(event_type.clone()), &["description"]);
            }
            Ok(event_type)
        });
        let event_type = changed.await?;
        self.counted(workspace, event_type).await
    }

    /// Counts the event type's subscribers, beside the change: nobody who writes waits for that.
    async fn counted(
        &self,
        workspace: &WorkspaceId,
        event_type: EventTypeRecord,
    ) -> Result<EventTypeView, ManagementError> {
        let selection = [Select::SubscriberCounts(Some(vec![event_type.id]))];
        let rows = self.read(workspace, &selection).await?;
        Ok(EventTypeView {
            subscriber_count: count(&rows, event_type.id),
            event_type,
        })
    }

    /// Removes an event type with its subscriptions and publications. What was queued of it is delivered all the same.
    pub async fn delete_event_type(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EventTypeId,
    ) -> Result<(), ManagementError> {
        let reads = vec![Select::EventTypesWith(vec![id])];
        self.change(workspace, actor, reads, move |draft| {
            draft.remove(Record::EventType(draft.event_type(id)?.clone()));
            Ok(())
        })
        .await
    }
}

fn with_count(id: EventTypeId) -> [Select; 2] {
    [
        Select::EventTypesWith(vec![id]),
        Select::SubscriberCounts(Some(vec![id])),
    ]
}

fn count(rows: &Snapshot, id: EventTypeId) -> u64 {
    rows.subscriber_counts.get(&id).copied().unwrap_or(0)
}

fn views(mut rows: Snapshot) -> Vec<EventTypeView> {
    let event_types = std::mem::take(&mut rows.event_types);
    event_types
        .into_iter()
        .map(|event_type| EventTypeView {
            subscriber_count: count(&rows, event_type.id),
            event_type,
        })
        .collect()
}
