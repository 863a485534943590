use super::MemoryStore;
use crate::{
    ApiKeyId, ApiKeyRecord, ApplyMode, Catalog, CatalogError, Change, EventTypeId, EventTypeName,
    EventTypeRecord, KeyState, Manifest, ManifestError, MessageId, Record, Snapshot, StoreError,
    Verb, WorkspaceId, WorkspaceRecord,
};

impl Catalog for MemoryStore {
    async fn apply(
        &self,
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
            // An endpoint that is enabled again starts afresh: its old failures must not disable it at the next one.
            for change in &changes {
                if let Record::Endpoint(row) = &change.record
                    && row.is_active
                    && state
                        .catalog
                        .endpoints
                        .iter()
                        .any(|old| old.id == row.id && !old.is_active)
                {
                    state.failing_since.remove(&row.id);
                }
            }
            state.catalog = catalog;
            state.look_ups.clear();
        }
        Ok(changes)
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>, StoreError> {
        Ok(self.state().catalog.workspaces.clone())
    }

    async fn api_keys(&self, workspace: &WorkspaceId) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let state = self.state();
        let keys = state
            .catalog
            .api_keys
            .iter()
            .filter(|row| row.workspace == *workspace);
        Ok(keys.cloned().collect())
    }

    async fn set_api_key_state(
        &self,
        key: &ApiKeyId,
        key_state: KeyState,
    ) -> Result<(), CatalogError> {
        let mut state = self.state();
        let mut keys = state.catalog.api_keys.iter_mut();
        let found = keys.find(|row| row.id == *key && row.state != KeyState::Revoked);
        found.ok_or(CatalogError::NotFound("API key"))?.state = key_state;
        Ok(())
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
        let now = self.shared.clock.now();
        let bits = MessageId::from_parts(now, self.shared.ids.random()).as_bits();
        let row = EventTypeRecord {
            id: EventTypeId::from_bits(bits),
            workspace: *workspace,
            name: name.clone(),
            description: None,
            created_at: now,
        };
        let id = row.id;
        state.catalog.event_types.push(row);
        state.look_ups.clear();
        Ok(id)
    }
}

/// Puts a row in the place of the one with its id, or at the end unless its id is another workspace's.
macro_rules! put {
    ($rows:expr, $row:expr, $verb:expr, $what:literal, $name:expr) => {{
        let at = $rows.iter().position(|other| other.id == $row.id);
        match (at, $verb) {
            (Some(at), Verb::Update) => $rows[at] = $row.clone(),
            (None, Verb::Create) => $rows.push($row.clone()),
            (None, Verb::Update) => return Err(CatalogError::NotFound($what)),
            (_, Verb::Create | Verb::Remove) => return taken($what, $name),
        }
    }};
}

fn write(catalog: &mut Snapshot, change: &Change) -> Result<(), CatalogError> {
    let verb = change.verb;
    match &change.record {
        Record::ApiKey(row) => {
            if catalog
                .api_keys
                .iter()
                .any(|other| other.hash == row.hash && other.id != row.id)
            {
                return taken("API key", &row.name);
            }
            put!(catalog.api_keys, row, verb, "API key", &row.name);
        }
        Record::Endpoint(row) => {
            put!(catalog.endpoints, row, verb, "endpoint", row.id.as_str());
        }
        Record::Environment(row) => {
            put!(catalog.environments, row, verb, "environment", &row.slug);
        }
        Record::EventType(row) => {
            put!(
                catalog.event_types,
                row,
                verb,
                "event type",
                row.name.as_str()
            );
        }
        Record::ManagementToken(row) => {
            let rows = &mut catalog.management_tokens;
            if rows
                .iter()
                .any(|other| other.hash == row.hash && other.id != row.id)
            {
                return taken("management token", &row.name);
            }
            put!(rows, row, verb, "management token", &row.name);
        }
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
        }
        Record::Workspace(row) => {
            let rows = &mut catalog.workspaces;
            if rows
                .iter()
                .any(|other| other.name == row.name && other.id != row.id)
            {
                return taken("workspace", &row.name);
            }
            put!(rows, row, verb, "workspace", &row.name);
        }
    }
    Ok(())
}

fn taken(what: &'static str, name: &str) -> Result<(), CatalogError> {
    Err(ManifestError::Taken {
        what,
        name: name.to_owned(),
    }
    .into())
}
