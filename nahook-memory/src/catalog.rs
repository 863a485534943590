use nahook_control::{
    Actor, ApiKeyRecord, ApplyMode, AuditEntry, Catalog, CatalogError, Change, EndpointRecord,
    EventTypeRecord, KeyState, Manifest, ManifestError, Record, RowKind, Snapshot, Verb,
    WorkspaceRecord,
};
use nahook_core::admission::Plan;
use nahook_core::id::{EventTypeId, WorkspaceId};
use nahook_core::{EventTypeName, StoreError};

use super::MemoryStore;
use super::state::row_count;
use super::subscribers::{resubscribe, subscribe_matching};

#[async_trait::async_trait]
impl Catalog for MemoryStore {
    async fn apply_as(
        &self,
        actor: &Actor,
        manifest: &Manifest,
        mode: ApplyMode,
    ) -> Result<Vec<Change>, CatalogError> {
        let mut state = self.state();
        let changes =
            manifest.changes(&state.catalog, self.shared.clock.now(), &self.shared.ids)?;
        let mut catalog = state.catalog.clone();
        for change in &changes {
            write(&mut catalog, change)?;
        }
        if mode == ApplyMode::Commit {
            let (now, ids) = (self.shared.clock.now(), &self.shared.ids);
            let entries = changes
                .iter()
                .map(|change| AuditEntry::of(change, actor, now, ids));
            state.audit.extend(entries);
            state.take_over(catalog, &changes);
        }
        Ok(changes)
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        Ok(self.state().catalog.workspaces.clone())
    }

    async fn ensure_event_type(
        &self,
        name: &EventTypeName,
        workspace: &WorkspaceId,
    ) -> Result<EventTypeId, CatalogError> {
        let mut state = self.state();
        if !state
            .catalog
            .workspaces
            .iter()
            .any(|row| row.id == *workspace)
        {
            return Err(CatalogError::NotFound("workspace"));
        }
        let mut rows = state.catalog.event_types.iter();
        if let Some(row) = rows.find(|row| row.workspace == *workspace && row.name == *name) {
            return Ok(row.id);
        }
        let count = row_count(&state.catalog, *workspace, RowKind::EventType);
        if count >= RowKind::EventType.max(&Plan::default()) {
            return Err(CatalogError::NotFound("event type"));
        }
        let now = self.shared.clock.now();
        let ids = &self.shared.ids;
        let row = EventTypeRecord::drawn(name.clone(), *workspace, now, ids);
        let id = row.id;
        subscribe_matching(&mut state.catalog, &row);
        state.catalog.event_types.push(row);
        let resource = ("event_type", id.to_string());
        let entry = AuditEntry::new(*workspace, &Actor::system(), resource, "created", now, ids);
        state.audit.push(entry);
        state.look_ups.clear();
        Ok(id)
    }
}

/// Puts a row in the place of the one with its id, at the end unless its id is another workspace's, or nowhere.
macro_rules! put {
    ($rows:expr, $row:expr, $change:expr) => {{
        let at = $rows
            .iter()
            .position(|other| other.id == $row.id && other.workspace == $row.workspace);
        match (at, $change.verb) {
            (Some(at), Verb::Update) => $rows[at] = $row.clone(),
            (Some(at), Verb::Remove) => drop($rows.remove(at)),
            (None, Verb::Create) if $rows.iter().all(|other| other.id != $row.id) => {
                $rows.push($row.clone());
            }
            (None, Verb::Remove | Verb::Update) => return Err(missing($change)),
            (_, Verb::Create) => return Err(ManifestError::taken(&$change.record).into()),
        }
    }};
}

pub(super) fn write(catalog: &mut Snapshot, change: &Change) -> Result<(), CatalogError> {
    let verb = change.verb;
    if verb != Verb::Remove && is_taken(catalog, &change.record) {
        return Err(ManifestError::taken(&change.record).into());
    }
    match &change.record {
        Record::ApiKey(row) => put!(catalog.api_keys, row, change),
        Record::Application(row) => put!(catalog.applications, row, change),
        Record::Endpoint(row) => put!(catalog.endpoints, row, change),
        Record::Environment(row) => put!(catalog.environments, row, change),
        Record::EventType(row) => {
            put!(catalog.event_types, row, change);
            if verb == Verb::Create {
                subscribe_matching(catalog, row);
            }
        }
        Record::ManagementToken(row) => put!(catalog.management_tokens, row, change),
        Record::Pattern(row) => {
            catalog.patterns.retain(|other| other.id != row.id);
            if verb == Verb::Create {
                catalog.patterns.push(row.clone());
            }
            resubscribe(catalog, row.endpoint);
        }
        // Kept beside the catalog, which look-ups copy.
        Record::PortalSession(_) => {}
        Record::Publication(row) => {
            catalog.publications.retain(|other| other != row);
            if verb == Verb::Create {
                catalog.publications.push(*row);
            }
        }
        Record::Subscription(row) => {
            catalog.subscriptions.retain(|other| other.id != row.id);
            if verb == Verb::Create {
                catalog.subscriptions.push(*row);
            }
            resubscribe(catalog, row.endpoint);
        }
        Record::Workspace(row) => {
            let rows = &mut catalog.workspaces;
            let at = rows.iter().position(|other| other.id == row.id);
            match (at, verb) {
                (Some(at), Verb::Update) => rows[at] = row.clone(),
                (None, Verb::Create) => rows.push(row.clone()),
                (None, _) => return Err(missing(change)),
                (Some(_), _) => return Err(ManifestError::taken(&change.record).into()),
            }
        }
    }
    if verb == Verb::Remove {
        remove_dependents(catalog, &change.record);
    }
    Ok(())
}

/// Removes what makes no sense without the removed row.
fn remove_dependents(catalog: &mut Snapshot, removed: &Record) {
    match removed {
        Record::Application(row) => {
            let of_application = |endpoint: &EndpointRecord| endpoint.application == Some(row.id);
            let (gone, kept) = std::mem::take(&mut catalog.endpoints)
                .into_iter()
                .partition(of_application);
            catalog.endpoints = kept;
            let gone: Vec<EndpointRecord> = gone;
            for endpoint in gone {
                remove_dependents(catalog, &Record::Endpoint(endpoint));
            }
        }
        Record::Endpoint(row) => {
            catalog.subscriptions.retain(|it| it.endpoint != row.id);
            catalog.patterns.retain(|it| it.endpoint != row.id);
            catalog.subscribers.retain(|it| it.endpoint != row.id);
            revoke(catalog, |key| key.endpoint == Some(row.id));
        }
        Record::Environment(row) => {
            catalog.publications.retain(|it| it.environment != row.id);
            revoke(catalog, |key| key.environment == Some(row.id));
        }
        Record::EventType(row) => {
            catalog.subscriptions.retain(|it| it.event_type != row.id);
            catalog.subscribers.retain(|it| it.event_type != row.id);
            catalog.publications.retain(|it| it.event_type != row.id);
        }
        _ => {}
    }
}

fn revoke(catalog: &mut Snapshot, is_bound: impl Fn(&ApiKeyRecord) -> bool) {
    for key in catalog.api_keys.iter_mut().filter(|key| is_bound(key)) {
        key.state = KeyState::Revoked;
    }
}

/// Returns true if something that must be the row's alone is another's.
fn is_taken(catalog: &Snapshot, record: &Record) -> bool {
    match record {
        Record::ApiKey(row) => catalog.api_keys.iter().any(|it| {
            it.id != row.id
                && (it.hash == row.hash || it.workspace == row.workspace && it.name == row.name)
        }),
        Record::Application(row) => catalog.applications.iter().any(|it| {
            it.id != row.id
                && it.workspace == row.workspace
                && it.external_id.is_some()
                && it.external_id == row.external_id
        }),
        Record::Environment(row) => catalog
            .environments
            .iter()
            .any(|it| it.id != row.id && it.workspace == row.workspace && it.slug == row.slug),
        Record::EventType(row) => catalog
            .event_types
            .iter()
            .any(|it| it.id != row.id && it.workspace == row.workspace && it.name == row.name),
        Record::ManagementToken(row) => catalog.management_tokens.iter().any(|it| {
            it.id != row.id
                && (it.hash == row.hash || it.workspace == row.workspace && it.name == row.name)
        }),
        Record::Workspace(row) => {
            let mut rows = catalog.workspaces.iter();
            rows.any(|it| it.id != row.id && it.name == row.name)
        }
        Record::Endpoint(_)
        | Record::Pattern(_)
        | Record::PortalSession(_)
        | Record::Publication(_)
        | Record::Subscription(_) => false,
    }
}

fn missing(change: &Change) -> CatalogError {
    CatalogError::NotFound(change.record.described().0)
}
