//! Workspaces, environments, event types.

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_core::admission::{Plan, Rate};
use nahook_core::id::{EnvironmentId, EventTypeId, WorkspaceId};

use super::planner::{DEFAULT_SLUG, Planner, put};
use super::{ManifestError, Record, Verb};
use crate::rules::{environment, event_type, plan, workspace};
use crate::{
    manifest::EnvironmentSpec, manifest::EventTypeSpec, manifest::PlanSpec, manifest::RateSpec,
    manifest::WorkspaceSpec, record::EnvironmentRecord, record::EventTypeRecord,
    record::PublicationRecord, record::WorkspaceRecord,
};

const DEFAULT_NAME: &str = "Production";

impl Planner<'_> {
    pub(super) fn workspace(&mut self, spec: &WorkspaceSpec) -> Result<WorkspaceId, ManifestError> {
        let what = "workspace";
        let payload_len_max = spec.plan.and_then(|plan| plan.payload_len_max);
        let payload_len_max = payload_len_max.map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        let checked = workspace::NAME
            .check(&spec.name)
            .and_then(|()| plan::PAYLOAD_LEN_MAX.check(payload_len_max))
            .and_then(|()| plan::PENDING_MAX.check(spec.plan.and_then(|plan| plan.pending_max)))
            .and_then(|()| {
                plan::STORED_MIB_MAX.check(spec.plan.and_then(|plan| plan.stored_mib_max))
            })
            .and_then(|()| {
                plan::ENDPOINTS_MAX.check(spec.plan.and_then(|plan| plan.endpoints_max))
            });
        checked.map_err(ManifestError::broken(what, &spec.name))?;
        let found = self.state.workspaces.iter().position(|row| match spec.id {
            Some(id) => row.id == id,
            None => row.name == spec.name,
        });
        let before = found.map(|at| &self.state.workspaces[at]);
        let rate = || ManifestError::value(what, &spec.name, "a rate of its plan is out of range");
        let plan = match spec.plan {
            Some(plan) => plan_of(plan).ok_or_else(rate)?,
            None => before.map(|row| row.plan).unwrap_or_default(),
        };
        let id = before.map(|row| row.id).or(spec.id);
        let id = id.unwrap_or_else(|| WorkspaceId::from_bits(self.draw()));
        let created_at = before.map_or(self.now, |row| row.created_at);
        let desired = WorkspaceRecord {
            id,
            name: spec.name.clone(),
            plan,
            created_at,
        };
        put!(self, workspaces, found, desired, Workspace, None);
        Ok(id)
    }
    pub(super) fn environment(
        &mut self,
        spec: &EnvironmentSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let (what, slug) = ("environment", spec.slug.clone());
        let is_default = slug == DEFAULT_SLUG;
        let found = self.environment_at(&slug, workspace);
        let before = found.map(|at| &self.state.environments[at]);
        if let Some((before, id)) = before.zip(spec.id)
            && before.id != id
        {
            return Err(ManifestError::Fixed {
                what,
                name: slug,
                field: "id",
            });
        }
        let name = spec
            .name
            .clone()
            .or_else(|| before.map(|row| row.name.clone()))
            .unwrap_or_else(|| {
                if is_default {
                    DEFAULT_NAME.to_owned()
                } else {
                    slug.clone()
                }
            });
        let checked = environment::SLUG
            .check(&slug)
            .and_then(|()| environment::NAME.check(spec.name.as_deref()));
        checked.map_err(ManifestError::broken(what, &slug))?;
        if is_default && spec.published.is_some() {
            let rule = "the default environment publishes every event type";
            return Err(ManifestError::value(what, &slug, rule));
        }
        let id = before.map(|row| row.id).or(spec.id);
        let id = id.unwrap_or_else(|| EnvironmentId::from_bits(self.draw()));
        let created_at = before.map_or(self.now, |row| row.created_at);
        let unchanged = before
            .filter(|row| row.name == name)
            .map(|row| row.updated_at);
        let updated_at = unchanged.unwrap_or(self.now);
        let desired = EnvironmentRecord {
            id,
            workspace,
            name,
            slug,
            is_default,
            created_at,
            updated_at,
        };
        put!(self, environments, found, desired, Environment, None);
        Ok(())
    }
    pub(super) fn event_type(
        &mut self,
        spec: &EventTypeSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let rows = &self.state.event_types;
        let found = rows
            .iter()
            .position(|row| row.workspace == workspace && row.name == spec.name);
        let before = found.map(|at| &rows[at]);
        if let Some((before, id)) = before.zip(spec.id)
            && before.id != id
        {
            let (what, name) = ("event type", spec.name.to_string());
            return Err(ManifestError::Fixed {
                what,
                name,
                field: "id",
            });
        }
        event_type::DESCRIPTION
            .check(spec.description.as_deref())
            .map_err(ManifestError::broken("event type", spec.name.as_str()))?;
        let id = before.map(|row| row.id).or(spec.id);
        let desired = EventTypeRecord {
            id: id.unwrap_or_else(|| EventTypeId::from_bits(self.draw())),
            workspace,
            name: spec.name.clone(),
            description: spec
                .description
                .clone()
                .or_else(|| before.and_then(|row| row.description.clone())),
            created_at: before.map_or(self.now, |row| row.created_at),
        };
        put!(self, event_types, found, desired, EventType, None);
        Ok(())
    }
    pub(super) fn publications(
        &mut self,
        spec: &EnvironmentSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let Some(names) = &spec.published else {
            return Ok(());
        };
        let environment = self.environment_id(&spec.slug, workspace)?;
        let mut wanted = Vec::new();
        for name in names {
            let event_type = self.event_type_id(name, workspace)?;
            wanted.push(PublicationRecord {
                workspace,
                environment,
                event_type,
            });
        }
        let there: Vec<_> = self
            .state
            .publications
            .iter()
            .copied()
            .filter(|row| row.environment == environment)
            .collect();
        for row in there.iter().filter(|row| !wanted.contains(row)) {
            self.state.publications.retain(|other| other != row);
            self.note(Verb::Remove, Record::Publication(*row), None);
        }
        for row in wanted {
            if !self.state.publications.contains(&row) {
                self.state.publications.push(row);
                self.note(Verb::Create, Record::Publication(row), None);
            }
        }
        Ok(())
    }
}

fn plan_of(spec: PlanSpec) -> Option<Plan> {
    let rate = |spec: Option<RateSpec>| match spec {
        Some(RateSpec {
            count,
            period_secs,
            burst,
        }) => {
            let period = Duration::from_secs(period_secs.map_or(1, NonZeroU32::get).into());
            Rate::new(count, period, burst.unwrap_or(count)).map(Some)
        }
        None => Some(None),
    };
    Some(Plan {
        payload_len_max: spec
            .payload_len_max
            .unwrap_or(Plan::PAYLOAD_LEN_MAX_DEFAULT),
        workspace_rate: rate(spec.workspace_rate)?,
        key_rate: rate(spec.key_rate)?,
        delivery_rate: rate(spec.delivery_rate)?,
        pending_max: spec.pending_max.unwrap_or(Plan::PENDING_MAX_DEFAULT),
        stored_len_max: spec
            .stored_mib_max
            .map_or(Plan::STORED_LEN_MAX_DEFAULT, |mib| u64::from(mib) << 20),
        endpoints_max: spec.endpoints_max.unwrap_or(Plan::ENDPOINTS_MAX_DEFAULT),
    })
}
