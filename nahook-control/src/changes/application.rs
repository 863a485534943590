//! Applications.

use nahook_core::Metadata;
use nahook_core::id::{ApplicationId, WorkspaceId};

use super::planner::{Planner, put};
use super::{ManifestError, Record, Verb};
use crate::manifest::ApplicationSpec;
use crate::record::ApplicationRecord;
use crate::rules::{Broken, application};

const WHAT: &str = "application";

impl Planner<'_> {
    pub(super) fn application(
        &mut self,
        spec: &ApplicationSpec,
        workspace: WorkspaceId,
    ) -> Result<ApplicationId, ManifestError> {
        check(spec).map_err(ManifestError::broken(WHAT, &spec.name))?;
        let name = || spec.name.clone();
        let external_id = spec.external_id.as_deref();
        let mut rows = self.state.applications.iter();
        let found = rows.position(|row| {
            let is_meant = match (spec.id, external_id) {
                (Some(id), _) => row.id == id,
                (None, Some(external_id)) => row.external_id.as_deref() == Some(external_id),
                (None, None) => row.name == spec.name,
            };
            row.workspace == workspace && is_meant
        });
        let before = found.map(|at| &self.state.applications[at]);
        let renamed = |before: &&ApplicationRecord| {
            external_id.is_some() && before.external_id.as_deref() != external_id
        };
        if before.is_some_and(|before| renamed(&before)) {
            let (what, name, field) = (WHAT, name(), "external_id");
            return Err(ManifestError::Fixed { what, name, field });
        }
        let metadata = spec.metadata.as_ref().map(Metadata::as_map);
        let metadata = metadata.or_else(|| before.map(|row| &row.metadata));
        let id = before.map(|row| row.id).or(spec.id);
        let mut desired = ApplicationRecord {
            id: id.unwrap_or_else(|| ApplicationId::from_bits(self.draw())),
            workspace,
            external_id: match before {
                Some(before) => before.external_id.clone(),
                None => spec.external_id.clone(),
            },
            name: name(),
            metadata: metadata.cloned().unwrap_or_default(),
            max_endpoints: spec
                .max_endpoints
                .or_else(|| before.and_then(|row| row.max_endpoints)),
            show_event_types: spec
                .show_event_types
                .or(before.map(|row| row.show_event_types))
                .unwrap_or(true),
            created_at: before.map_or(self.now, |row| row.created_at),
            updated_at: before.map_or(self.now, |row| row.updated_at),
        };
        if before.is_some_and(|row| *row != desired) {
            desired.updated_at = self.now;
        }
        let id = desired.id;
        put!(self, applications, found, desired, Application, None);
        Ok(id)
    }

    /// The application with that id, or else with that external id, or else with that name.
    pub(super) fn application_id(
        &self,
        text: &str,
        workspace: WorkspaceId,
    ) -> Result<ApplicationId, ManifestError> {
        let rows = || {
            let rows = self.state.applications.iter();
            rows.filter(|row| row.workspace == workspace)
        };
        let found = rows()
            .find(|row| row.id.as_str() == text)
            .or_else(|| rows().find(|row| row.external_id.as_deref() == Some(text)))
            .or_else(|| rows().find(|row| row.name == text));
        found
            .map(|row| row.id)
            .ok_or_else(|| ManifestError::Unknown {
                what: WHAT,
                name: text.to_owned(),
            })
    }

    /// Returns true if an application has got more endpoints than it may have. A cap that is lowered below what is there takes none
    /// away.
    pub(super) fn check_caps(&self, workspace: WorkspaceId) -> Result<(), ManifestError> {
        let mut rows = self.state.applications.iter();
        let full = rows.find(|row| {
            let has_more = row.max_endpoints.is_some_and(|max| {
                let endpoints = self.state.endpoints.iter();
                let own = endpoints.filter(|it| it.application == Some(row.id));
                own.count() > usize::try_from(max).unwrap_or(usize::MAX)
            });
            row.workspace == workspace && has_more && self.gives_an_endpoint_to(row.id)
        });
        match full {
            Some(row) => {
                let rule = "it has more endpoints than its max_endpoints";
                Err(ManifestError::value(WHAT, &row.name, rule))
            }
            None => Ok(()),
        }
    }
}

fn check(spec: &ApplicationSpec) -> Result<(), Broken> {
    application::NAME.check(&spec.name)?;
    application::EXTERNAL_ID.check(spec.external_id.as_deref())?;
    application::MAX_ENDPOINTS.check(spec.max_endpoints)?;
    application::METADATA.check(spec.metadata.as_ref().map(Metadata::as_map))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{ApplicationRecord, Change, Manifest, ManifestError, Record, Snapshot, Verb};

    use nahook_core::{RandomIds, Timestamp};

    fn plan(existing: &Snapshot, workspace: &Value) -> Result<Vec<Change>, ManifestError> {
        let mut workspace = workspace.clone();
        workspace["id"] = "ws_a".into();
        workspace["name"] = "a".into();
        let manifest: Manifest =
            serde_json::from_value(json!({"workspaces": [workspace]})).unwrap();
        manifest.changes(existing, Timestamp::default(), &RandomIds)
    }

    /// Returns the rows that exist once that is planned and made.
    fn made(existing: &Snapshot, workspace: &Value) -> Snapshot {
        let mut after = existing.clone();
        for change in plan(existing, workspace).unwrap() {
            match (change.verb, change.record) {
                (Verb::Create, Record::Workspace(row)) => after.workspaces.push(row),
                (Verb::Create, Record::Environment(row)) => after.environments.push(row),
                (Verb::Create, Record::Application(row)) => after.applications.push(row),
                (Verb::Create, Record::Endpoint(row)) => after.endpoints.push(row),
                (Verb::Update, Record::Application(row)) => {
                    let same = |it: &ApplicationRecord| it.id == row.id;
                    let at = after.applications.iter().position(same).unwrap();
                    after.applications[at] = row;
                }
                other => panic!("{other:?}"),
            }
        }
        after
    }

    fn applications(list: &Value) -> Value {
        json!({"applications": list})
    }

    #[test]
    fn an_application_is_recognised_by_its_id_its_external_id_or_its_name() {
        let named = applications(&json!([{"name": "A"}, {"name": "B", "external_id": "b"}]));
        let there = made(&Snapshot::default(), &named);
        assert_eq!(plan(&there, &named), Ok(Vec::new()));
        let id = |there: &Snapshot, name: &str| {
            let named = |row: &&ApplicationRecord| row.name == name;
            there.applications.iter().find(named).unwrap().id
        };
        let (a, b) = (id(&there, "A"), id(&there, "B"));
        let renamed = applications(&json!([
            {"id": a.as_str(), "name": "AA"},
            {"name": "BB", "external_id": "b"},
        ]));
        let after = made(&there, &renamed);
        assert_eq!(after.applications.len(), 2);
        assert_eq!((id(&after, "AA"), id(&after, "BB")), (a, b));
        // The name alone is another one's.
        let other = applications(&json!([{"name": "AA", "external_id": "c"}]));
        assert_eq!(made(&after, &other).applications.len(), 3);
    }

    #[test]
    fn an_application_that_cannot_be_is_refused() {
        for (list, says) in [
            (json!([{"name": "A"}, {"name": "A"}]), "declared twice"),
            (
                json!([{"name": "A", "external_id": "a"}, {"name": "B", "external_id": "a"}]),
                "declared twice",
            ),
        ] {
            let refused = plan(&Snapshot::default(), &applications(&list)).unwrap_err();
            assert!(refused.to_string().contains(says), "{refused}");
        }
        let there = made(
            &Snapshot::default(),
            &applications(&json!([{"id": "app_1", "name": "A"}])),
        );
        let moved = applications(&json!([{"id": "app_1", "name": "A", "external_id": "a"}]));
        let refused = plan(&there, &moved).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("external_id, which cannot be changed"),
            "{refused}"
        );
    }

    #[test]
    fn an_endpoint_belongs_to_its_application_for_good() {
        let both = |owner: Value| {
            json!({
                "applications": [{"id": "app_1", "name": "A"}, {"name": "B", "external_id": "b"}],
                "endpoints": [{"id": "ep_1", "url": "https://x.example/", "application": owner}],
            })
        };
        for owner in ["app_1", "A"] {
            let there = made(&Snapshot::default(), &both(owner.into()));
            let of = there.endpoints[0].application.unwrap();
            assert_eq!(of.as_str(), "app_1");
            // What is absent stays.
            assert_eq!(plan(&there, &both(Value::Null)), Ok(Vec::new()));
            let moved = plan(&there, &both("b".into())).unwrap_err();
            assert!(
                moved
                    .to_string()
                    .contains("application, which cannot be changed"),
                "{moved}"
            );
        }
        let unknown = plan(&Snapshot::default(), &both("app_2".into())).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no application \"app_2\"");
    }

    #[test]
    fn two_applications_may_have_endpoints_at_one_url() {
        let shared = json!({
            "applications": [{"name": "A"}, {"name": "B"}],
            "endpoints": [
                {"url": "https://x.example/", "application": "A"},
                {"url": "https://x.example/", "application": "B"},
            ],
        });
        let there = made(&Snapshot::default(), &shared);
        assert_eq!(there.endpoints.len(), 2);
        assert_eq!(plan(&there, &shared), Ok(Vec::new()));
    }

    #[test]
    fn an_application_gets_no_more_endpoints_than_it_may_have() {
        let declared = |max: u32, endpoints: usize| {
            let endpoint = |n| json!({"url": format!("https://x.example/{n}"), "application": "A", "is_active": n > 0});
            let endpoints: Vec<_> = (0..endpoints).map(endpoint).collect();
            json!({"applications": [{"name": "A", "max_endpoints": max}], "endpoints": endpoints})
        };
        let none = Snapshot::default();
        let there = made(&none, &declared(2, 2));
        for (existing, max, endpoints) in [(&none, 0, 1), (&none, 2, 3), (&there, 2, 3)] {
            let refused = plan(existing, &declared(max, endpoints)).unwrap_err();
            let says = "application \"A\": it has more endpoints than its max_endpoints";
            assert_eq!(refused.to_string(), says);
        }
        // A lower limit takes none away.
        let lowered = made(&there, &declared(1, 2));
        assert_eq!(lowered.applications[0].max_endpoints, Some(1));
        assert_eq!(lowered.endpoints.len(), 2);
    }
}
