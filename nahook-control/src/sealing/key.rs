//! Keys and the texts that they seal.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nahook_core::id::{EndpointId, WorkspaceId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::SealError;

/// Length of every key, in bytes.
pub(super) const KEY_LEN: usize = 32;
/// Begins every sealed text. No rule allows a control character in a secret, so that no plain one begins so.
const MARK: &str = "\u{1}1.";

/// Returns true if a text was sealed for a field of an endpoint.
pub(super) fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Field that a secret is in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Config,
    Password,
    /// Also of the one before it: both are signing secrets of this endpoint.
    Secret,
    Url,
}

impl Field {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Password => "password",
            Self::Secret => "secret",
            Self::Url => "url",
        }
    }
}

/// A store's own key, as two keys for two purposes.
pub(super) struct DataKey {
    sealing: SealingKey,
    pub(super) records: [u8; KEY_LEN],
}

impl DataKey {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Result<Self, Unspecified> {
        let root = Salt::new(HKDF_SHA256, b"nahook").extract(key);
        let derive = |purpose: &[u8]| {
            let mut derived = [0; KEY_LEN];
            root.expand(&[purpose], KeyLen)?.fill(&mut derived)?;
            Ok::<_, Unspecified>(derived)
        };
        Ok(Self {
            sealing: SealingKey::new(&derive(b"secrets at rest")?)?,
            records: derive(b"records on a queue")?,
        })
    }

    pub(super) fn seal(
        &self,
        workspace: WorkspaceId,
        endpoint: EndpointId,
        field: Field,
        text: &str,
    ) -> Result<String, SealError> {
        let place = place(workspace, endpoint, field);
        let sealed = self.sealing.seal(&place, text.as_bytes())?;
        Ok(format!("{MARK}{sealed}"))
    }

    pub(super) fn open(
        &self,
        workspace: WorkspaceId,
        endpoint: EndpointId,
        field: Field,
        text: &str,
    ) -> Result<String, SealError> {
        let sealed = text.strip_prefix(MARK).ok_or(SealError::Foreign)?;
        let place = place(workspace, endpoint, field);
        let opened = self.sealing.open(&place, sealed)?;
        String::from_utf8(opened).map_err(|_| SealError::Foreign)
    }
}

/// Hides the keys.
impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// Place of a secret, which it is bound to. No id has a control character.
fn place(workspace: WorkspaceId, endpoint: EndpointId, field: Field) -> String {
    format!("{workspace}\0{endpoint}\0{}", field.as_str())
}

/// Length of a derived key.
struct KeyLen;

impl KeyType for KeyLen {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

/// A key of AES-256-GCM. Each text has a nonce of its own, drawn at random: there are far fewer than 2^32 of them.
#[derive(Clone)]
pub(super) struct SealingKey(Arc<LessSafeKey>);

impl SealingKey {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Result<Self, Unspecified> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
        Ok(Self(Arc::new(key)))
    }

    /// Returns the nonce, the encrypted text and its tag in base64.
    pub(super) fn seal(&self, place: &str, text: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        let drawn = SystemRandom::new().fill(&mut nonce);
        drawn.map_err(|_| SealError::NoRandom)?;
        let mut sealed = text.to_vec();
        let (aad, of_text) = (Aad::from(place), Nonce::assume_unique_for_key(nonce));
        let done = self.0.seal_in_place_append_tag(of_text, aad, &mut sealed);
        // Only a text of 64 GiB is too long.
        done.map_err(|_| SealError::Foreign)?;
        Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    pub(super) fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut sealed = STANDARD.decode(sealed).map_err(|_| SealError::Foreign)?;
        let (nonce, text) = sealed
            .split_first_chunk_mut::<NONCE_LEN>()
            .ok_or(SealError::Foreign)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(place), text);
        Ok(opened.map_err(|_| SealError::Foreign)?.to_vec())
    }
}
