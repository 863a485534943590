//! Ingestion keys and management tokens: shown once, stored as hashes.

use crate::{
    Actor, ApiKeyRecord, KeyHash, KeyState, ManagementError, ManagementStore,
    ManagementTokenRecord, Record, SecretText, Select, new_api_key, new_management_token,
};
use nahook_core::StoreError;
use nahook_core::id::{ApiKeyId, EndpointId, EnvironmentId, ManagementTokenId, WorkspaceId};

use super::Management;
use crate::rules::{api_key, management_token};

/// An ingestion key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewApiKey {
    /// For people; unique in the workspace.
    pub name: String,
    /// The only environment it reaches.
    pub environment: Option<EnvironmentId>,
    /// The only endpoint it may send to.
    pub endpoint: Option<EndpointId>,
}

/// A management token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewManagementToken {
    /// For people; unique in the workspace.
    pub name: String,
    /// True if it reads only, and sees no secret.
    pub is_read_only: bool,
}

/// One of that name with every right.
impl From<String> for NewManagementToken {
    fn from(name: String) -> Self {
        Self {
            name,
            is_read_only: false,
        }
    }
}

impl<S: ManagementStore> Management<S> {
    /// The workspace's ingestion keys, the oldest first; revoked ones included.
    pub async fn api_keys(&self, workspace: &WorkspaceId) -> Result<Vec<ApiKeyRecord>, StoreError> {
        Ok(self.read(workspace, &[Select::ApiKeys]).await?.api_keys)
    }

    /// Makes an ingestion key. Its secret is in the answer and nowhere else.
    pub async fn create_api_key(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        new: NewApiKey,
    ) -> Result<(ApiKeyRecord, SecretText), ManagementError> {
        // Before anything is read: not every store can look for any text.
        api_key::NAME.check(&new.name)?;
        let mut reads = vec![Select::Environments, Select::ApiKeyCalled(new.name.clone())];
        reads.extend(new.endpoint.map(Select::Endpoint));
        self.change(workspace, actor, reads, move |draft| {
            if !draft.rows.api_keys.is_empty() {
                return Err(ManagementError::conflict("the name is taken"));
            }
            new.environment
                .map(|id| draft.environment(id))
                .transpose()?;
            new.endpoint.map(|id| draft.endpoint(id)).transpose()?;
            let secret = new_api_key(draft.ids);
            let row = ApiKeyRecord {
                id: ApiKeyId::from_bits(draft.draw()),
                workspace: draft.workspace,
                environment: new.environment,
                endpoint: new.endpoint,
                name: new.name.clone(),
                hash: KeyHash::of(secret.expose()),
                state: KeyState::Active,
                created_at: draft.now,
            };
            draft.create(Record::ApiKey(row.clone()))?;
            Ok((row, secret))
        })
        .await
    }

    /// Enables, disables or revokes an ingestion key. Revoking is final: a revoked key is not found.
    pub async fn set_api_key_state(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: ApiKeyId,
        state: KeyState,
    ) -> Result<ApiKeyRecord, ManagementError> {
        self.change(workspace, actor, vec![Select::ApiKey(id)], move |draft| {
            let mut rows = draft.rows.api_keys.iter();
            let found = rows.find(|row| row.state != KeyState::Revoked);
            let mut row = found.ok_or(ManagementError::NotFound("API key"))?.clone();
            if row.state != state {
                row.state = state;
                let record = Record::ApiKey(row.clone());
                draft.update_as(state.participle(), "api_key", id.to_string(), record);
            }
            Ok(row)
        })
        .await
    }

    /// The workspace's management tokens, the oldest first; revoked ones included.
    pub async fn management_tokens(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<ManagementTokenRecord>, StoreError> {
        let rows = self.read(workspace, &[Select::ManagementTokens]).await?;
        Ok(rows.management_tokens)
    }

    /// Makes a management token. Its secret is in the answer and nowhere else.
    pub async fn create_management_token(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        new: impl Into<NewManagementToken>,
    ) -> Result<(ManagementTokenRecord, SecretText), ManagementError> {
        let new = new.into();
        // Before anything is read: not every store can look for any text.
        management_token::NAME.check(&new.name)?;
        let reads = vec![Select::ManagementTokenCalled(new.name.clone())];
        self.change(workspace, actor, reads, move |draft| {
            if !draft.rows.management_tokens.is_empty() {
                return Err(ManagementError::conflict("the name is taken"));
            }
            let secret = new_management_token(draft.ids);
            let row = ManagementTokenRecord {
                id: ManagementTokenId::from_bits(draft.draw()),
                workspace: draft.workspace,
                name: new.name.clone(),
                hash: KeyHash::of(secret.expose()),
                is_read_only: new.is_read_only,
                state: KeyState::Active,
                created_at: draft.now,
            };
            draft.create(Record::ManagementToken(row.clone()))?;
            Ok((row, secret))
        })
        .await
    }

    /// Enables, disables or revokes a management token. Revoking is final: a revoked token is not found.
    pub async fn set_management_token_state(
        &self,
        workspace: &WorkspaceId,
        actor: &Actor,
        id: ManagementTokenId,
        state: KeyState,
    ) -> Result<ManagementTokenRecord, ManagementError> {
        let reads = vec![Select::ManagementToken(id)];
        self.change(workspace, actor, reads, move |draft| {
            let mut rows = draft.rows.management_tokens.iter();
            let found = rows.find(|row| row.state != KeyState::Revoked);
            let found = found.ok_or(ManagementError::NotFound("management token"))?;
            let mut row = found.clone();
            if row.state != state {
                row.state = state;
                let record = Record::ManagementToken(row.clone());
                draft.update_as(
                    state.participle(),
                    "management_token",
                    id.to_string(),
                    record,
                );
            }
            Ok(row)
        })
        .await
    }
}
