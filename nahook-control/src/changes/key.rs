//! Keys and tokens.

use crate::{
    KeyHash, SecretText, manifest::ApiKeySpec, manifest::ManagementTokenSpec, record::ApiKeyRecord,
    record::KeyState, record::ManagementTokenRecord, secrets,
};
use nahook_core::id::{ApiKeyId, ManagementTokenId, WorkspaceId};

use super::planner::{Planner, put};
use super::{ManifestError, Record, Verb};
use crate::rules::{api_key, management_token};

impl Planner<'_> {
    pub(super) fn api_key(
        &mut self,
        spec: &ApiKeySpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let (what, name) = ("API key", spec.name.clone());
        let slug = spec.environment.as_deref();
        let environment = slug
            .map(|slug| self.environment_id(slug, workspace))
            .transpose()?;
        if let Some(id) = spec.endpoint {
            let mut rows = self.state.endpoints.iter();
            if !rows.any(|row| row.workspace == workspace && row.id == id) {
                return Err(ManifestError::Unknown {
                    what: "endpoint",
                    name: id.to_string(),
                });
            }
        }
        let rows = &self.state.api_keys;
        let found = rows
            .iter()
            .position(|row| row.workspace == workspace && row.name == name);
        let before = found.map(|at| &rows[at]);
        let given = spec.key.as_deref().map(KeyHash::of);
        // One from before a rule stays.
        let is_new = before.is_none_or(|row| Some(row.hash) != given);
        let new_key = spec.key.as_deref().filter(|_| is_new);
        let checked = api_key::NAME
            .check(&name)
            .and_then(|()| api_key::KEY.check(new_key));
        checked.map_err(ManifestError::broken(what, &name))?;
        if let Some(row) = before {
            let field = fixed_field(
                spec.id.is_some_and(|id| id != row.id),
                given,
                row.hash,
                row.state,
            )
            .or(
                (spec.environment.is_some() && row.environment != environment)
                    .then_some("environment"),
            )
            .or((spec.endpoint.is_some() && row.endpoint != spec.endpoint).then_some("endpoint"));
            if let Some(field) = field {
                return Err(ManifestError::Fixed { what, name, field });
            }
        }
        let known = before.map(|row| row.hash).or(given);
        let drawn = known.is_none().then(|| secrets::new_api_key(self.ids));
        let id = before.map(|row| row.id).or(spec.id);
        let desired = ApiKeyRecord {
            id: id.unwrap_or_else(|| ApiKeyId::from_bits(self.draw())),
            workspace,
            environment: before.map_or(environment, |row| row.environment),
            endpoint: before.map_or(spec.endpoint, |row| row.endpoint),
            name,
            hash: known
                .unwrap_or_else(|| KeyHash::of(drawn.as_ref().map_or("", SecretText::expose))),
            state: state_of(spec.disabled, before.map(|row| row.state)),
            created_at: before.map_or(self.now, |row| row.created_at),
        };
        put!(self, api_keys, found, desired, ApiKey, drawn);
        Ok(())
    }
    pub(super) fn management_token(
        &mut self,
        spec: &ManagementTokenSpec,
        workspace: WorkspaceId,
    ) -> Result<(), ManifestError> {
        let (what, name) = ("management token", spec.name.clone());
        let rows = &self.state.management_tokens;
        let found = rows
            .iter()
            .position(|row| row.workspace == workspace && row.name == name);
        let before = found.map(|at| &rows[at]);
        let given = spec.token.as_deref().map(KeyHash::of);
        // One from before a rule stays.
        let is_new = before.is_none_or(|row| Some(row.hash) != given);
        let new_token = spec.token.as_deref().filter(|_| is_new);
        let checked = management_token::NAME
            .check(&name)
            .and_then(|()| management_token::TOKEN.check(new_token));
        checked.map_err(ManifestError::broken(what, &name))?;
        if let Some(row) = before {
            let other_id = spec.id.is_some_and(|id| id != row.id);
            let field = fixed_field(other_id, given, row.hash, row.state);
            let other_right = spec.read_only.is_some_and(|it| it != row.is_read_only);
            if let Some(field) = field.or(other_right.then_some("read_only")) {
                return Err(ManifestError::Fixed { what, name, field });
            }
        }
        let known = before.map(|row| row.hash).or(given);
        let drawn = known
            .is_none()
            .then(|| secrets::new_management_token(self.ids));
        let id = before.map(|row| row.id).or(spec.id);
        let desired = ManagementTokenRecord {
            id: id.unwrap_or_else(|| ManagementTokenId::from_bits(self.draw())),
            workspace,
            name,
            hash: known
                .unwrap_or_else(|| KeyHash::of(drawn.as_ref().map_or("", SecretText::expose))),
            is_read_only: before.map_or(spec.read_only.unwrap_or(false), |row| row.is_read_only),
            state: state_of(spec.disabled, before.map(|row| row.state)),
            created_at: before.map_or(self.now, |row| row.created_at),
        };
        put!(
            self,
            management_tokens,
            found,
            desired,
            ManagementToken,
            drawn
        );
        Ok(())
    }
}

fn fixed_field(
    other_id: bool,
    given: Option<KeyHash>,
    hash: KeyHash,
    state: KeyState,
) -> Option<&'static str> {
    if other_id {
        Some("id")
    } else if given.is_some_and(|given| given != hash) {
        Some("secret")
    } else if state == KeyState::Revoked {
        Some("state (it is revoked)")
    } else {
        None
    }
}

fn state_of(disabled: Option<bool>, before: Option<KeyState>) -> KeyState {
    match disabled {
        Some(true) => KeyState::Disabled,
        Some(false) => KeyState::Active,
        None => before.unwrap_or(KeyState::Active),
    }
}
