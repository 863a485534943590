//! Dry runs: the endpoints that would get an event, and the reasons why others would not.

use std::collections::HashSet;

use nahook_core::id::{EndpointId, EnvironmentId, EventTypeId, WorkspaceId};

use super::Management;
use crate::{EndpointRecord, ManagementError, ManagementStore, Select, Snapshot};

/// The effects that a trigger would have now.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// The event type.
    pub event_type: EventTypeId,
    /// Every endpoint of the workspace: those subscribed in the order of subscribing, then the others, the oldest first.
    pub endpoints: Vec<(EndpointId, WouldBe)>,
}

/// The effect on one endpoint; of several reasons the first that holds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WouldBe {
    /// It is not subscribed to the event type.
    NotSubscribed,
    /// It belongs to another environment than the one that was asked for.
    OtherEnvironment,
    /// The event type is not published in its environment.
    Unpublished,
    /// It is switched off.
    Inactive,
    /// A delivery would be queued for it.
    Queued,
}

impl<S: ManagementStore> Management<S> {
    /// Returns the endpoints that would get an event of that type, triggered with a key that is bound to `environment`, or to
    /// none.
    pub async fn dry_run(
        &self,
        workspace: &WorkspaceId,
        event_type: EventTypeId,
        environment: Option<EnvironmentId>,
    ) -> Result<DryRun, ManagementError> {
        let mut selection = vec![
            Select::EventTypesWith(vec![event_type]),
            Select::SubscribersTo(event_type),
            Select::Endpoints,
            Select::Environments,
        ];
        selection.extend(environment.map(Select::PublicationsIn));
        let rows = self.read(workspace, &selection).await?;
        if rows.event_types.is_empty() {
            return Err(ManagementError::NotFound("event type"));
        }
        let reached = match environment {
            Some(id) => Some(reached(&rows, id, event_type)?),
            None => None,
        };
        let subscribed: Vec<_> = rows.subscribers.iter().map(|row| row.endpoint).collect();
        let set: HashSet<_> = subscribed.iter().copied().collect();
        let by_id: std::collections::HashMap<_, _> =
            rows.endpoints.iter().map(|row| (row.id, row)).collect();
        let told = subscribed
            .iter()
            .filter_map(|id| by_id.get(id).map(|row| (*id, would_be(row, reached))));
        let others = rows
            .endpoints
            .iter()
            .filter(|row| !set.contains(&row.id))
            .map(|row| (row.id, WouldBe::NotSubscribed));
        Ok(DryRun {
            event_type,
            endpoints: told.chain(others).collect(),
        })
    }
}

/// The environment that bounds the fan-out, and whether it publishes the event type.
type Reach = (EnvironmentId, bool);

fn reached(
    rows: &Snapshot,
    id: EnvironmentId,
    event_type: EventTypeId,
) -> Result<Reach, ManagementError> {
    let environment = rows.environments.iter().find(|row| row.id == id);
    let environment = environment.ok_or(ManagementError::NotFound("environment"))?;
    let mut publications = rows.publications.iter();
    let is_published =
        environment.is_default || publications.any(|row| row.event_type == event_type);
    Ok((id, is_published))
}

fn would_be(endpoint: &EndpointRecord, reach: Option<Reach>) -> WouldBe {
    match reach {
        Some((environment, _)) if endpoint.environment != environment => WouldBe::OtherEnvironment,
        Some((_, false)) => WouldBe::Unpublished,
        _ if !endpoint.is_active => WouldBe::Inactive,
        _ => WouldBe::Queued,
    }
}
