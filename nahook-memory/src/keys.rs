use nahook_control::{KeyEntry, KeyHash, KeyState, KeyStore, TokenHolder};
use nahook_core::StoreError;
use nahook_core::admission::Caller;

use super::MemoryStore;

#[async_trait::async_trait]
impl KeyStore for MemoryStore {
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError> {
        let state = self.state();
        let found = state.catalog.api_keys.iter().find(|row| row.hash == *hash);
        let Some(row) = found.filter(|row| row.state != KeyState::Revoked) else {
            return Ok(None);
        };
        let mut workspaces = state.catalog.workspaces.iter();
        let Some(workspace) = workspaces.find(|workspace| workspace.id == row.workspace) else {
            return Ok(None);
        };
        let identity = Caller {
            key: row.id,
            workspace: row.workspace,
            environment: row.environment,
            endpoint: row.endpoint,
            plan: workspace.plan,
        };
        Ok(Some(KeyEntry {
            identity,
            disabled: row.state == KeyState::Disabled,
        }))
    }

    async fn management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<TokenHolder>>, StoreError> {
        let state = self.state();
        let found = state
            .catalog
            .management_tokens
            .iter()
            .find(|row| row.hash == *hash);
        Ok(found
            .filter(|row| row.state != KeyState::Revoked)
            .map(|row| KeyEntry {
                identity: TokenHolder {
                    token: row.id,
                    workspace: row.workspace,
                    is_read_only: row.is_read_only,
                },
                disabled: row.state == KeyState::Disabled,
            }))
    }
}
