//! Who a key belongs to.

use crate::KeyHash;
use nahook_core::erase;

use nahook_core::{Caller, ManagementTokenId, StoreError, WorkspaceId};

/// What a store knows of a secret that was presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyEntry<T> {
    /// Whom the secret identifies.
    pub identity: T,
    /// Whether it is switched off for now.
    pub disabled: bool,
}

/// Looks secrets up by their hash.
pub trait KeyStore: Send + Sync {
    /// The ingestion key with this hash. A revoked one is not there.
    fn api_key(
        &self,
        hash: &KeyHash,
    ) -> impl Future<Output = Result<Option<KeyEntry<Caller>>, StoreError>> + Send;

    /// The management token with this hash. A revoked one is not there.
    fn management_token(
        &self,
        hash: &KeyHash,
    ) -> impl Future<Output = Result<Option<KeyEntry<(ManagementTokenId, WorkspaceId)>>, StoreError>>
    + Send;
}

erase! {
    /// [`KeyStore`] as a trait object.
    KeyStore as DynKeyStore {
        fn api_key / api_key_dyn(hash: &KeyHash) -> Result<Option<KeyEntry<Caller>>, StoreError>;
        fn management_token / management_token_dyn(hash: &KeyHash)
            -> Result<Option<KeyEntry<(ManagementTokenId, WorkspaceId)>>, StoreError>;
    }
}
