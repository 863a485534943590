//! The operator's keys.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::key::{KEY_LEN, SealingKey};

/// Binding of a wrapped data key, so that it opens as nothing else.
const WRAPPED_DATA_KEY: &str = "nahook data key";

/// Keys of the operator, which wrap a store's data key.
///
/// The first one wraps; each of them unwraps, so that a store can be opened before and after its key is
/// [wrapped anew](Self::rewrap).
#[derive(Clone)]
pub struct MasterKeys(Arc<[MasterKey]>);

#[derive(Clone)]
pub(super) struct MasterKey {
    key: SealingKey,
    fingerprint: String,
}

/// Reason that the operator's keys cannot be used with a store. Says nothing of the keys themselves.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// There is no key in the text.
    #[error("no key is given: one is 32 random bytes in base64, as of `openssl rand -base64 32`")]
    Empty,
    /// One of them is no key.
    #[error("key {0} is not 32 bytes in base64, as of `openssl rand -base64 32`")]
    Malformed(usize),
    /// The store is sealed, and no key was given.
    #[error(
        "the store's secrets are sealed with the key {0}: give it with --secret-key-file or NAHOOK_SECRET_KEY"
    )]
    Missing(String),
    /// The store is sealed with a key that is not among those given.
    #[error("the store's secrets are sealed with the key {wanted}, and the keys given are {given}")]
    Wrong {
        /// Fingerprint of the store's key.
        wanted: String,
        /// Fingerprints of the given ones.
        given: String,
    },
    /// The wrapped key is none, or was changed.
    #[error("the store's wrapped data key is damaged")]
    Damaged,
}

impl MasterKeys {
    /// Reads keys of 32 bytes in base64, separated by white space or commas. Lines that begin with `#` are comments.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let lines = text.lines().filter(|line| !line.trim().starts_with('#'));
        let words = lines.flat_map(|line| line.split([',', ' ', '\t']));
        let words = words.map(str::trim).filter(|word| !word.is_empty());
        let keys = words.enumerate().map(|(at, word)| {
            let key = STANDARD.decode(word).ok();
            let key = key.and_then(|key| <[u8; KEY_LEN]>::try_from(key).ok());
            key.and_then(|key| MasterKey::new(&key))
                .ok_or(MasterKeyError::Malformed(at + 1))
        });
        let keys = keys.collect::<Result<Arc<[_]>, _>>()?;
        if keys.is_empty() {
            return Err(MasterKeyError::Empty);
        }
        Ok(Self(keys))
    }

    /// Wraps a store's data key with the first of the keys. Returns `None` if it already is.
    pub fn rewrap(&self, wrapped: &str) -> Result<Option<String>, MasterKeyError> {
        let (by, data_key) = self.unwrap(wrapped)?;
        if by.fingerprint == self.first().fingerprint {
            return Ok(None);
        }
        self.wrap(&data_key).map(Some)
    }

    /// Fingerprint of the key that wraps: enough to tell two apart.
    pub fn fingerprint(&self) -> &str {
        &self.first().fingerprint
    }

    // There is always one.
    fn first(&self) -> &MasterKey {
        &self.0[0]
    }

    pub(super) fn wrap(&self, data_key: &[u8; KEY_LEN]) -> Result<String, MasterKeyError> {
        let by = self.first();
        let sealed = by.key.seal(WRAPPED_DATA_KEY, data_key);
        let sealed = sealed.map_err(|_| MasterKeyError::Damaged)?;
        Ok(format!("1.{}.{sealed}", by.fingerprint))
    }

    pub(super) fn unwrap(
        &self,
        wrapped: &str,
    ) -> Result<(&MasterKey, [u8; KEY_LEN]), MasterKeyError> {
        let (wanted, sealed) = parts(wrapped)?;
        let by = self.0.iter().find(|key| key.fingerprint == wanted);
        let by = by.ok_or_else(|| MasterKeyError::Wrong {
            wanted: wanted.to_owned(),
            given: self.to_string(),
        })?;
        let opened = by.key.open(WRAPPED_DATA_KEY, sealed);
        let key = opened.ok().and_then(|key| key.try_into().ok());
        Ok((by, key.ok_or(MasterKeyError::Damaged)?))
    }
}

/// Fingerprint and sealed text of a wrapped key.
pub(super) fn parts(wrapped: &str) -> Result<(&str, &str), MasterKeyError> {
    let parts = wrapped
        .strip_prefix("1.")
        .and_then(|rest| rest.split_once('.'));
    parts.ok_or(MasterKeyError::Damaged)
}

/// Writes the fingerprints.
impl fmt::Display for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprints = self.0.iter().map(|key| key.fingerprint.as_str());
        f.write_str(&fingerprints.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeys({self})")
    }
}

impl MasterKey {
    fn new(key: &[u8; KEY_LEN]) -> Option<Self> {
        let digest = Sha256::new_with_prefix(b"nahook master key ").chain_update(key);
        let digest = digest.finalize();
        let [a, b, c, d, ..] = <[u8; KEY_LEN]>::from(digest);
        Some(Self {
            key: SealingKey::new(key).ok()?,
            fingerprint: format!("{:08x}", u32::from_be_bytes([a, b, c, d])),
        })
    }
}
