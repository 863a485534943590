//! Environments, and which event types each publishes.

use nahook_core::id::{EnvironmentId, EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

use super::Management;
use crate::rules::{ENVIRONMENTS_MAX, environment};
use crate::{
    Actor, EnvironmentRecord, ManagementError, ManagementStore, PublicationRecord, Record, Select,
};

/// An environment to be made.
#[derive(Clone, Debug)]
pub struct NewEnvironment {
    /// 1 to 50 characters.
    pub name: String,
    /// 2 to 50 lower-case letters, digits and hyphens; unique in the workspace.
    pub slug: String,
}

/// Visibility of an event type in an environment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Visibility {
    /// The event type.
    pub event_type: EventTypeId,
    /// Its name.
    pub name: EventTypeName,
    /// True if events of that type reach the environment's endpoints.
    pub published: bool,
}

impl<S: ManagementStore> Management<S> {
    /// The workspace's environments, the oldest first.
    pub async fn environments(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<EnvironmentRecord>, StoreError> {
        let rows = self.read(workspace, &[Select::Environments]).await?;
        Ok(rows.environments)
    }

    /// The environment.
    pub async fn environment(
        &self,
        workspace: &WorkspaceId,
        id: EnvironmentId,
    ) -> Result<EnvironmentRecord, ManagementError> {
        let mut rows = self.environments(workspace).await?.into_iter();
        rows.find(|row| row.id == id)
            .ok_or(ManagementError::NotFound("environment"))
    }

    /// Makes an environment, in which nothing is published yet.
    pub async fn create_environment(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        new: NewEnvironment,
    ) -> Result<EnvironmentRecord, ManagementError> {
        self.change(workspace, actor, vec![Select::Environments], move |draft| {
            environment::NAME.check(&new.name)?;
            environment::SLUG.check(&new.slug)?;
            if draft
                .rows
                .environments
                .iter()
                .any(|row| row.slug == new.slug)
            {
                return Err(ManagementError::conflict("the slug is taken"));
            }
            if draft.rows.environments.len() >= ENVIRONMENTS_MAX {
                let rule = format!("a workspace has at most {ENVIRONMENTS_MAX} environments");
                return Err(ManagementError::conflict(rule));
            }
            let row = EnvironmentRecord {
                id: EnvironmentId::from_bits(draft.draw()),
                workspace: draft.workspace,
                name: new.name.clone(),
                slug: new.slug.clone(),
                is_default: false,
                created_at: draft.now,
                updated_at: draft.now,
            };
            draft.create(Record::Environment(row.clone()))?;
            Ok(row)
        })
        .await
    }

    /// Changes the environment's name, if one is given.
    pub async fn update_environment(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EnvironmentId,
        name: Option<String>,
    ) -> Result<EnvironmentRecord, ManagementError> {
        self.change(workspace, actor, vec![Select::Environments], move |draft| {
            let mut row = draft.environment(id)?.clone();
            if let Some(name) = name.as_ref()
                && *name != row.name
            {
                environment::NAME.check(name)?;
                row.name.clone_from(name);
                row.updated_at = draft.now;
                draft.update(Record::Environment(row.clone()), &["name"]);
            }
            Ok(row)
        })
        .await
    }

    /// Removes an environment that is not the default one and has no endpoints; keys that are bound to it are revoked.
    pub async fn delete_environment(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EnvironmentId,
    ) -> Result<(), ManagementError> {
        let reads = vec![Select::Environments, Select::AnyEndpointIn(id)];
        self.change(workspace, actor, reads, move |draft| {
            let row = draft.environment(id)?.clone();
            if row.is_default {
                let rule = "the default environment cannot be deleted";
                return Err(ManagementError::conflict(rule));
            }
            if !draft.rows.endpoints.is_empty() {
                let rule = "the environment still has endpoints: delete them first";
                return Err(ManagementError::conflict(rule));
            }
            draft.remove(Record::Environment(row));
            Ok(())
        })
        .await
    }

    /// Every event type of the workspace, and whether the environment publishes it.
    pub async fn visibility(
        &self,
        workspace: &WorkspaceId,
        id: EnvironmentId,
    ) -> Result<Vec<Visibility>, ManagementError> {
        let selection = [
            Select::Environments,
            Select::EventTypes,
            Select::PublicationsIn(id),
        ];
        let rows = self.read(workspace, &selection).await?;
        let mut environments = rows.environments.iter();
        let environment = environments
            .find(|row| row.id == id)
            .ok_or(ManagementError::NotFound("environment"))?;
        let published: std::collections::HashSet<_> =
            rows.publications.iter().map(|row| row.event_type).collect();
        Ok(rows
            .event_types
            .into_iter()
            .map(|row| Visibility {
                event_type: row.id,
                published: environment.is_default || published.contains(&row.id),
                name: row.name,
            })
            .collect())
    }

    /// Publishes an event type in the environment, or no longer. The default environment publishes everything, always.
    pub async fn set_visibility(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: EnvironmentId,
        event_type: EventTypeId,
        published: bool,
    ) -> Result<Visibility, ManagementError> {
        let reads = vec![
            Select::Environments,
            Select::EventTypesWith(vec![event_type]),
            Select::Publication(id, event_type),
        ];
        self.change(workspace, actor, reads, move |draft| {
            let environment = draft.environment(id)?;
            let name = draft.event_type(event_type)?.name.clone();
            if environment.is_default && !published {
                let rule = "the default environment publishes every event type";
                return Err(ManagementError::conflict(rule));
            }
            let row = PublicationRecord {
                workspace: draft.workspace,
                environment: id,
                event_type,
            };
            let is_there = environment.is_default || draft.rows.publications.contains(&row);
            match (is_there, published) {
                (false, true) => draft.create(Record::Publication(row))?,
                (true, false) => draft.remove(Record::Publication(row)),
                _ => {}
            }
            Ok(Visibility {
                event_type,
                name,
                published,
            })
        })
        .await
    }
}
