//! Subscriptions of an endpoint by name.

use std::collections::{HashMap, HashSet};

use nahook_core::EventTypeName;
use nahook_core::id::{EndpointId, EventTypeId, SubscriptionId, WorkspaceId};

use super::Management;
use crate::{Actor, ManagementError, ManagementStore, Record, Select, SubscriptionRecord};

/// A subscription, and the name of its event type.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SubscriptionView {
    /// The subscription.
    pub subscription: SubscriptionRecord,
    /// Name of its event type.
    pub event_type_name: EventTypeName,
}

impl<S: ManagementStore> Management<S> {
    /// Returns the endpoint's subscriptions by name, the oldest first.
    pub async fn subscriptions(
        &self,
        workspace: &WorkspaceId,
        endpoint: EndpointId,
    ) -> Result<Vec<SubscriptionView>, ManagementError> {
        let selection = [
            Select::Endpoint(endpoint),
            Select::SubscriptionsOf(endpoint),
        ];
        let rows = self.read(workspace, &selection).await?;
        if rows.endpoints.is_empty() {
            return Err(ManagementError::NotFound("endpoint"));
        }
        // Of a workspace's many event types one endpoint hears a few. One that is removed meanwhile takes its subscription along.
        let ids = rows.subscriptions.iter().map(|row| row.event_type);
        let heard = [Select::EventTypesWith(ids.collect())];
        let heard = self.read(workspace, &heard).await?;
        let names: HashMap<_, _> = heard
            .event_types
            .iter()
            .map(|row| (row.id, &row.name))
            .collect();
        let views = rows.subscriptions.into_iter().filter_map(|subscription| {
            let event_type_name = (*names.get(&subscription.event_type)?).clone();
            Some(SubscriptionView {
                subscription,
                event_type_name,
            })
        });
        Ok(views.collect())
    }

    /// Subscribes the endpoint to every event type of the list, or to none. Answers how many different ones those are;
    /// what it was subscribed to already stays as it is.
    pub async fn subscribe(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        endpoint: EndpointId,
        event_types: Vec<EventTypeId>,
    ) -> Result<usize, ManagementError> {
        let reads = vec![
            Select::Endpoint(endpoint),
            Select::Subscriptions(endpoint, event_types.clone()),
            Select::EventTypesWith(event_types.clone()),
        ];
        self.change(workspace, actor, reads, move |draft| {
            draft.endpoint(endpoint)?;
            let there: HashSet<_> = draft
                .rows
                .subscriptions
                .iter()
                .map(|row| row.event_type)
                .collect();
            let mut wanted = HashSet::new();
            for event_type in &event_types {
                draft.event_type(*event_type)?;
                if wanted.insert(*event_type) && !there.contains(event_type) {
                    let row = SubscriptionRecord {
                        id: SubscriptionId::from_bits(draft.draw()),
                        workspace: draft.workspace,
                        endpoint,
                        event_type: *event_type,
                        created_at: draft.now,
                    };
                    draft.create(Record::Subscription(row))?;
                }
            }
            Ok(wanted.len())
        })
        .await
    }

    /// Ends the endpoint's subscription to the event type by its name. A pattern that matches it goes on.
    pub async fn unsubscribe(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        endpoint: EndpointId,
        event_type: EventTypeId,
    ) -> Result<(), ManagementError> {
        let reads = vec![
            Select::Endpoint(endpoint),
            Select::Subscriptions(endpoint, vec![event_type]),
        ];
        self.change(workspace, actor, reads, move |draft| {
            draft.endpoint(endpoint)?;
            let mut rows = draft.rows.subscriptions.iter();
            let row = rows
                .find(|row| row.event_type == event_type)
                .ok_or(ManagementError::NotFound("subscription"))?;
            draft.remove(Record::Subscription(*row));
            Ok(())
        })
        .await
    }
}
