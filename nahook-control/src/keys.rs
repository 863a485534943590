//! Look-up of keys and tokens.

use async_trait::async_trait;
use auto_impl::auto_impl;
use nahook_core::StoreError;
use nahook_core::admission::Caller;
use nahook_core::id::{ManagementTokenId, WorkspaceId};

use crate::KeyHash;

/// Entry of a key or token that was presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyEntry<T> {
    /// Holder of the secret.
    pub identity: T,
    /// True if it is switched off for now.
    pub disabled: bool,
}

/// Holder of a management token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenHolder {
    /// The token.
    pub token: ManagementTokenId,
    /// The workspace that it manages.
    pub workspace: WorkspaceId,
    /// True if it reads only, and sees no secret.
    pub is_read_only: bool,
}

/// Looks secrets up by their hash.
#[async_trait]
#[auto_impl(&, Arc)]
pub trait KeyStore: Send + Sync {
    /// The ingestion key with this hash. A revoked one is not there.
    async fn api_key(&self, hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError>;

    /// The management token with this hash. A revoked one is not there.
    async fn management_token(
        &self,
        hash: &KeyHash,
    ) -> Result<Option<KeyEntry<TokenHolder>>, StoreError>;
}
