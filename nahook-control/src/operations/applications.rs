//! Applications: the workspace's customers, with endpoints of their own.

use std::collections::BTreeMap;

use nahook_core::StoreError;
use nahook_core::id::{ApplicationId, WorkspaceId};

use super::Management;
use crate::rules::application;
use crate::{
    Actor, ApplicationRecord, EndpointRecord, ManagementError, ManagementStore, Record, Select,
};

/// An application to be made.
#[derive(Clone, Debug)]
pub struct NewApplication {
    /// For people.
    pub name: String,
    /// The workspace's own name for it.
    pub external_id: Option<String>,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// Largest number of endpoints; unlimited when absent, none at 0.
    pub max_endpoints: Option<u32>,
    /// True if its portal shows the event types.
    pub show_event_types: bool,
}

/// Changes to an application; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct ApplicationPatch {
    /// For people.
    pub name: Option<String>,
    /// Labels, all of them.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Largest number of endpoints; `Some(None)` lifts the limit.
    pub max_endpoints: Option<Option<u32>>,
    /// True if its portal shows the event types.
    pub show_event_types: Option<bool>,
}

impl<S: ManagementStore> Management<S> {
    /// The workspace's applications, the oldest first: at most `limit`, after the first `offset`.
    pub async fn applications(
        &self,
        workspace: &WorkspaceId,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<ApplicationRecord>, StoreError> {
        let selection = [Select::Applications { offset, limit }];
        Ok(self.read(workspace, &selection).await?.applications)
    }

    /// The workspace's applications with this text in the name or the external id, and the one with this id: at most `limit`, the
    /// oldest first.
    pub async fn applications_like(
        &self,
        workspace: &WorkspaceId,
        text: &str,
        limit: u64,
    ) -> Result<Vec<ApplicationRecord>, StoreError> {
        let text = text.to_owned();
        let selection = [Select::ApplicationsLike { text, limit }];
        Ok(self.read(workspace, &selection).await?.applications)
    }

    /// The application.
    pub async fn application(
        &self,
        workspace: &WorkspaceId,
        id: ApplicationId,
    ) -> Result<ApplicationRecord, ManagementError> {
        let rows = self.read(workspace, &[Select::Application(id)]).await?;
        let found = rows.applications.into_iter().next();
        found.ok_or(ManagementError::NotFound("application"))
    }

    /// The application's endpoints, the oldest first.
    pub async fn endpoints_of(
        &self,
        workspace: &WorkspaceId,
        id: ApplicationId,
    ) -> Result<Vec<EndpointRecord>, ManagementError> {
        let selection = [Select::Application(id), Select::EndpointsOf(id)];
        let rows = self.read(workspace, &selection).await?;
        if rows.applications.is_empty() {
            return Err(ManagementError::NotFound("application"));
        }
        Ok(rows.endpoints)
    }

    /// Makes an application.
    pub async fn create_application(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        new: NewApplication,
    ) -> Result<ApplicationRecord, ManagementError> {
        // Before anything is read: not every store can look for any text.
        application::NAME.check(&new.name)?;
        application::EXTERNAL_ID.check(new.external_id.as_ref())?;
        application::METADATA.check(&new.metadata)?;
        application::MAX_ENDPOINTS.check(new.max_endpoints)?;
        let mut reads = Vec::new();
        reads.extend(new.external_id.clone().map(Select::ApplicationCalled));
        self.change(workspace, actor, reads, move |draft| {
            if new.external_id.is_some() && !draft.rows.applications.is_empty() {
                return Err(ManagementError::conflict("the externalId is taken"));
            }
            let row = ApplicationRecord {
                id: ApplicationId::from_bits(draft.draw()),
                workspace: draft.workspace,
                external_id: new.external_id.clone(),
                name: new.name.clone(),
                metadata: new.metadata.clone(),
                max_endpoints: new.max_endpoints,
                show_event_types: new.show_event_types,
                created_at: draft.now,
                updated_at: draft.now,
            };
            draft.create(Record::Application(row.clone()))?;
            Ok(row)
        })
        .await
    }

    /// Changes an application. A limit below the number of its endpoints takes none away.
    pub async fn update_application(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: ApplicationId,
        patch: ApplicationPatch,
    ) -> Result<ApplicationRecord, ManagementError> {
        let reads = vec![Select::Application(id)];
        self.change(workspace, actor, reads, move |draft| {
            let before = draft.application(id)?;
            let mut row = before.clone();
            if let Some(name) = &patch.name {
                application::NAME.check(name)?;
                row.name.clone_from(name);
            }
            if let Some(metadata) = &patch.metadata {
                application::METADATA.check(metadata)?;
                row.metadata.clone_from(metadata);
            }
            if let Some(max_endpoints) = patch.max_endpoints {
                application::MAX_ENDPOINTS.check(max_endpoints)?;
                row.max_endpoints = max_endpoints;
            }
            if let Some(show_event_types) = patch.show_event_types {
                row.show_event_types = show_event_types;
            }
            let pairs = [
                ("name", row.name != before.name),
                ("metadata", row.metadata != before.metadata),
                ("maxEndpoints", row.max_endpoints != before.max_endpoints),
                (
                    "showEventTypes",
                    row.show_event_types != before.show_event_types,
                ),
            ];
            let differing = pairs.into_iter().filter(|(_, differs)| *differs);
            let fields: Vec<_> = differing.map(|(name, _)| name).collect();
            if !fields.is_empty() {
                row.updated_at = draft.now;
                draft.update(Record::Application(row.clone()), &fields);
            }
            Ok(row)
        })
        .await
    }

    /// Removes an application with its endpoints and portal sessions.
    pub async fn delete_application(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: ApplicationId,
    ) -> Result<(), ManagementError> {
        let reads = vec![Select::Application(id)];
        self.change(workspace, actor, reads, move |draft| {
            draft.remove(Record::Application(draft.application(id)?.clone()));
            Ok(())
        })
        .await
    }
}
