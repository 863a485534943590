//! Encryption of the secrets that a store keeps.
//!
//! A store has one data key, which it keeps wrapped with a key of the operator. The data key seals the secrets of endpoints,
//! each bound to its workspace, its endpoint and its field: a copy of the store gives none of them away, and a sealed text
//! that was moved to another row or field does not open.

mod key;
mod master;

use std::borrow::Cow;
use std::sync::Arc;

use nahook_core::StoreError;
use nahook_core::id::{EndpointId, WorkspaceId};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value};
use thiserror::Error;

use self::key::{DataKey, Field, KEY_LEN, is_sealed};
pub use self::master::{MasterKeyError, MasterKeys};
use crate::{Change, EndpointKind, EndpointRecord, EndpointTarget, Record, SecretText, Snapshot};

/// Reason that a secret could not be sealed or opened.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// It is sealed, and this process has no key.
    #[error("the secret is sealed, and this process has no key")]
    NoKey,
    /// It is not what was sealed for this field of this endpoint, or was changed.
    #[error("the secret was not sealed for this endpoint with the store's key")]
    Foreign,
    /// The operating system gives no random bytes.
    #[error("there are no random bytes")]
    NoRandom,
}

/// Reason that a store's key was not wrapped anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The operator's keys do not fit.
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    /// The store failed: the key may have been wrapped anew.
    #[error(transparent)]
    Store(StoreError),
}

/// Seals and opens the secrets of one store.
///
/// Without a key it leaves them as they are.
#[derive(Clone, Debug, Default)]
pub struct SecretBox(Option<Arc<DataKey>>);

/// The secrets of an endpoint, and what they are bound to.
#[derive(Clone, Debug)]
pub struct SecretColumns {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: EndpointId,
    /// Kind of receiver: of a Slack endpoint the URL is a secret, too.
    pub kind: EndpointKind,
    /// URL to POST to.
    pub url: String,
    /// Settings of the kind.
    pub config: Map<String, Value>,
    /// The password for basic authentication.
    pub password: Option<SecretText>,
    /// The `whsec_…` secret that signs.
    pub secret: SecretText,
    /// The one before it.
    pub previous: Option<SecretText>,
}

/// Way in which a store opens, by its own key and by those of the operator.
#[derive(Clone, Debug)]
pub enum Opening {
    /// With this box.
    Ready(SecretBox),
    /// With the box of this wrapped key, once the store has kept it: to be tried again with what it then has.
    Keep(String),
}

impl SecretBox {
    /// Returns how a store opens that has this wrapped data key, or none yet.
    ///
    /// # Errors
    /// The store is sealed and the operator's key is not given. Without any, nothing may be read or written.
    pub fn open(
        master: Option<&MasterKeys>,
        wrapped: Option<&str>,
    ) -> Result<Opening, MasterKeyError> {
        match (master, wrapped) {
            (None, None) => Ok(Opening::Ready(Self::default())),
            (None, Some(wrapped)) => Err(MasterKeyError::Missing(
                master::parts(wrapped)?.0.to_owned(),
            )),
            (Some(master), None) => {
                let mut key = [0; KEY_LEN];
                let drawn = SystemRandom::new().fill(&mut key);
                drawn.map_err(|_| MasterKeyError::Damaged)?;
                master.wrap(&key).map(Opening::Keep)
            }
            (Some(master), Some(wrapped)) => {
                let (_, key) = master.unwrap(wrapped)?;
                let key = DataKey::new(&key).map_err(|_| MasterKeyError::Damaged)?;
                Ok(Opening::Ready(Self(Some(Arc::new(key)))))
            }
        }
    }

    /// Returns true if secrets are sealed.
    pub fn has_key(&self) -> bool {
        self.0.is_some()
    }

    /// Key that authenticates records on a queue outside of the store, if secrets are sealed.
    pub fn record_key(&self) -> Option<[u8; 32]> {
        self.0.as_ref().map(|key| key.records)
    }

    /// The changes as the store keeps them.
    pub fn seal_changes<'a>(&self, changes: &'a [Change]) -> Result<Cow<'a, [Change]>, SealError> {
        let is_endpoint = |change: &Change| matches!(change.record, Record::Endpoint(_));
        if !self.has_key() || !changes.iter().any(is_endpoint) {
            return Ok(Cow::Borrowed(changes));
        }
        let mut sealed = changes.to_vec();
        for change in &mut sealed {
            if let Record::Endpoint(row) = &mut change.record {
                self.seal_endpoint(row)?;
            }
        }
        Ok(Cow::Owned(sealed))
    }

    /// Seals the secrets of an endpoint, if there is a key.
    pub fn seal_endpoint(&self, row: &mut EndpointRecord) -> Result<(), SealError> {
        let password = row.auth.as_ref().map(|auth| auth.password.clone());
        let previous = row.previous_secret.as_ref().map(|it| it.secret.clone());
        let mut columns = SecretColumns {
            workspace: row.workspace,
            id: row.id,
            kind: row.kind,
            url: std::mem::take(&mut row.url),
            config: std::mem::take(&mut row.config),
            password,
            secret: row.secret.clone(),
            previous,
        };
        self.seal(&mut columns)?;
        (row.url, row.config, row.secret) = (columns.url, columns.config, columns.secret);
        if let (Some(auth), Some(password)) = (&mut row.auth, columns.password) {
            auth.password = password;
        }
        if let (Some(retired), Some(previous)) = (&mut row.previous_secret, columns.previous) {
            retired.secret = previous;
        }
        Ok(())
    }

    /// Seals secrets, if there is a key and they are not sealed.
    pub fn seal(&self, columns: &mut SecretColumns) -> Result<(), SealError> {
        let Some(key) = &self.0 else { return Ok(()) };
        if is_sealed(columns.secret.expose()) {
            return Ok(());
        }
        let seal = |field: Field, text: &str| key.seal(columns.workspace, columns.id, field, text);
        let text =
            |field: Field, text: &SecretText| seal(field, text.expose()).map(SecretText::new);
        let secret = text(Field::Secret, &columns.secret)?;
        let previous = columns.previous.as_ref();
        let previous = previous.map(|it| text(Field::Secret, it)).transpose()?;
        let password = columns.password.as_ref();
        let password = password.map(|it| text(Field::Password, it)).transpose()?;
        if !columns.config.is_empty() {
            let config = serde_json::to_string(&columns.config).unwrap_or_default();
            columns.config = sealed_config(seal(Field::Config, &config)?);
        }
        if columns.kind == EndpointKind::Slack {
            columns.url = seal(Field::Url, &columns.url)?;
        }
        (columns.secret, columns.previous, columns.password) = (secret, previous, password);
        Ok(())
    }

    /// Opens the secrets of an endpoint as the store has it.
    pub fn open_endpoint(&self, row: &mut EndpointRecord) -> Result<(), SealError> {
        // All secrets of a row are sealed together, and no plain signing secret looks like a sealed one.
        if !is_sealed(row.secret.expose()) {
            return Ok(());
        }
        let key = self.0.as_ref().ok_or(SealError::NoKey)?;
        let open = |field: Field, text: &str| key.open(row.workspace, row.id, field, text);
        let secret = open(Field::Secret, row.secret.expose())?;
        if let Some(previous) = &mut row.previous_secret {
            previous.secret = SecretText::new(open(Field::Secret, previous.secret.expose())?);
        }
        if let Some(auth) = &mut row.auth {
            auth.password = SecretText::new(open(Field::Password, auth.password.expose())?);
        }
        if !row.config.is_empty() {
            let sealed = row.config.get(SEALED).and_then(Value::as_str);
            let config = open(Field::Config, sealed.unwrap_or_default())?;
            row.config = serde_json::from_str(&config).map_err(|_| SealError::Foreign)?;
        }
        if row.kind == EndpointKind::Slack {
            row.url = open(Field::Url, &row.url)?;
        }
        row.secret = SecretText::new(secret);
        Ok(())
    }

    /// Opens the secrets of every endpoint in it.
    pub fn open_snapshot(&self, snapshot: &mut Snapshot) -> Result<(), SealError> {
        let mut rows = snapshot.endpoints.iter_mut();
        rows.try_for_each(|row| self.open_endpoint(row))
    }

    /// Opens the secrets of an endpoint for a worker.
    pub fn open_target(&self, target: &mut EndpointTarget) -> Result<(), SealError> {
        let is_plain = |secret: &SecretText| !is_sealed(secret.expose());
        if target.secrets.iter().all(is_plain) {
            return Ok(());
        }
        let key = self.0.as_ref().ok_or(SealError::NoKey)?;
        let open = |field: Field, text: &str| key.open(target.workspace, target.id, field, text);
        for secret in &mut target.secrets {
            *secret = SecretText::new(open(Field::Secret, secret.expose())?);
        }
        if let Some(auth) = &mut target.auth {
            auth.password = SecretText::new(open(Field::Password, auth.password.expose())?);
        }
        if target.kind == EndpointKind::Slack {
            target.url = open(Field::Url, &target.url)?;
        }
        Ok(())
    }
}

/// Name of the one setting that stands for all of a sealed configuration.
const SEALED: &str = "sealed";

fn sealed_config(text: String) -> Map<String, Value> {
    Map::from_iter([(SEALED.to_owned(), Value::String(text))])
}

#[cfg(test)]
mod tests;
