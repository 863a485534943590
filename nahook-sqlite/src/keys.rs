//! Look-up of a key's caller.

use nahook_control::{KeyEntry, KeyHash, KeyState, KeyStore, TokenHolder};
use nahook_core::StoreError;
use nahook_core::admission::Caller;
use rusqlite::{Connection, OptionalExtension};

use crate::SqliteStore;
use crate::readers::catalog_version;
use crate::row::{coded_at, maybe_parsed_at, parsed_at, plan_at, plan_columns};

#[async_trait::async_trait]
impl KeyStore for SqliteStore {
    /// Answers from memory as long as no process has changed the key's workspace. What this process has changed is seen by the next
    /// call, what another has within a millisecond.
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError> {
        let shared = self.shared();
        let catalog = shared.readers().look_at_catalog().await?;
        let changed_in = |known: &KeyEntry<Caller>| catalog.changed_in(&known.identity.workspace);
        if let Some(known) = shared.keys.get(hash, changed_in) {
            return Ok(Some(known));
        }
        let presented = *hash;
        let (version, found) = shared
            .readers()
            .read(move |connection| {
                Ok((
                    catalog_version(connection)?,
                    api_key(connection, &presented)?,
                ))
            })
            .await?;
        if let Some(found) = found {
            shared.keys.insert(version, *hash, found, 1);
        }
        Ok(found)
    }

    async fn management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<TokenHolder>>, StoreError> {
        let presented = *hash;
        self.shared()
            .readers()
            .read(move |connection| management_token(connection, &presented))
            .await
    }
}

fn api_key(connection: &Connection, hash: &KeyHash) -> rusqlite::Result<Option<KeyEntry<Caller>>> {
    let found = connection
        .prepare_cached(
            concat!("SELECT api_key.state, api_key.id, workspace.id, environment.id, endpoint.id, ",
                 plan_columns!(), "
             FROM nahook_api_key AS api_key JOIN nahook_workspace AS workspace ON workspace.row = api_key.workspace
             LEFT JOIN nahook_environment AS environment ON environment.row = api_key.environment
             LEFT JOIN nahook_endpoint AS endpoint ON endpoint.row = api_key.endpoint
             WHERE api_key.hash = ?1"),
        )?
        .query_row([hash.as_bytes().as_slice()], |row| {
            let caller = Caller {
                key: parsed_at(row, 1)?,
                workspace: parsed_at(row, 2)?,
                environment: maybe_parsed_at(row, 3)?,
                endpoint: maybe_parsed_at(row, 4)?,
                plan: plan_at(row, 5)?,
            };
            Ok(entry(coded_at(row, 0, KeyState::from_code)?, caller))
        })
        .optional()?;
    Ok(found.flatten())
}

fn management_token(
    connection: &Connection,
    hash: &KeyHash,
) -> rusqlite::Result<Option<KeyEntry<TokenHolder>>> {
    let found = connection
        .prepare_cached(
            "SELECT management_token.state, management_token.id, workspace.id, is_read_only
             FROM nahook_management_token AS management_token JOIN nahook_workspace AS workspace ON workspace.row = management_token.workspace
             WHERE management_token.hash = ?1",
        )?
        .query_row([hash.as_bytes().as_slice()], |row| {
            let identity = TokenHolder {
                token: parsed_at(row, 1)?,
                workspace: parsed_at(row, 2)?,
                is_read_only: row.get(3)?,
            };
            Ok(entry(coded_at(row, 0, KeyState::from_code)?, identity))
        })
        .optional()?;
    Ok(found.flatten())
}

fn entry<T>(state: KeyState, identity: T) -> Option<KeyEntry<T>> {
    let disabled = match state {
        KeyState::Active => false,
        KeyState::Disabled => true,
        KeyState::Revoked => return None,
    };
    Some(KeyEntry { identity, disabled })
}
