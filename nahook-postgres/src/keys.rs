//! Look-up of a key's caller.

use nahook_control::{KeyEntry, KeyHash, KeyState, KeyStore, TokenHolder};
use nahook_core::StoreError;
use nahook_core::admission::Caller;
use tokio_postgres::Row;

use crate::catalog::row::{plan_at, plan_columns};
use crate::error::PgError;
use crate::row::{maybe_parsed_at, parsed_at, value_at};
use crate::store::PostgresStore;

const API_KEY: &str = concat!(
    "SELECT k.id, w.id, n.id, e.id, k.state, ",
    plan_columns!(),
    "
FROM api_key k
JOIN workspace w ON w.row = k.workspace
LEFT JOIN environment n ON n.row = k.environment
LEFT JOIN endpoint e ON e.row = k.endpoint
WHERE k.hash = $1 AND k.state <> 2"
);

const MANAGEMENT_TOKEN: &str = "
SELECT t.id, w.id, t.state, t.is_read_only
FROM management_token t
JOIN workspace w ON w.row = t.workspace
WHERE t.hash = $1 AND t.state <> 2";

#[async_trait::async_trait]
impl KeyStore for PostgresStore {
    /// Answers from the cache, within the same bounds as a look-up of subscribers.
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError> {
        let cache = &self.shared().signals.cache;
        if let Some(known) = cache.caller(hash) {
            return Ok(Some(known));
        }
        let asked = cache.epoch();
        let found = self.find_api_key(hash).await?;
        if let Some(found) = found {
            cache.keep_caller(asked, hash, &found);
        }
        Ok(found)
    }

    async fn management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<TokenHolder>>, StoreError> {
        Ok(self.find_management_token(hash).await?)
    }
}

impl PostgresStore {
    async fn find_api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, PgError> {
        let lender = &self.shared().lender;
        let rows = lender
            .query(API_KEY, &[&hash.as_bytes().as_slice()])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(KeyEntry {
            identity: Caller {
                key: parsed_at(row, 0)?,
                workspace: parsed_at(row, 1)?,
                environment: maybe_parsed_at(row, 2)?,
                endpoint: maybe_parsed_at(row, 3)?,
                plan: plan_at(row, 5)?,
            },
            disabled: is_disabled_at(row, 4)?,
        }))
    }

    async fn find_management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<TokenHolder>>, PgError> {
        let lender = &self.shared().lender;
        let rows = lender
            .query(MANAGEMENT_TOKEN, &[&hash.as_bytes().as_slice()])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(KeyEntry {
            identity: TokenHolder {
                token: parsed_at(row, 0)?,
                workspace: parsed_at(row, 1)?,
                is_read_only: value_at(row, 3)?,
            },
            disabled: is_disabled_at(row, 2)?,
        }))
    }
}

/// Returns true if the state in the column is that of a key or token that is disabled.
fn is_disabled_at(row: &Row, column: usize) -> Result<bool, PgError> {
    Ok(value_at::<i16>(row, column)? == i16::from(KeyState::Disabled.code()))
}
