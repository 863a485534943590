//! Cursors of lists of deliveries: opaque, and refused by any other list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use nahook_core::{DeliveryId, EndpointId, WorkspaceId};

use nahook_queue::DeliveryStatus;
use sha2::Sha256;

/// Bytes of a delivery's id.
const ID_LEN: usize = 16;
/// Bytes of the tag: 128 bits that nobody can guess.
const TAG_LEN: usize = 16;

/// Seals cursors and opens them again.
pub(crate) struct Seal([u8; 32]);

/// The list that a cursor belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct List {
    pub(crate) workspace: WorkspaceId,
    pub(crate) endpoint: EndpointId,
    pub(crate) status: Option<DeliveryStatus>,
}

impl Seal {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The text that stands for the place after that delivery.
    pub(crate) fn close(&self, list: &List, after: DeliveryId) -> String {
        let id = after.as_bits().to_be_bytes();
        let mut bytes = self.hide(id, list).to_vec();
        bytes.extend_from_slice(&self.tag(list, id));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The delivery before the place, if we made the text, and for this list.
    pub(crate) fn open(&self, list: &List, cursor: &str) -> Option<DeliveryId> {
        let mut bytes = [0; ID_LEN + TAG_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(cursor, &mut bytes).ok()?;
        let (hidden, tag) = bytes.get(..len)?.split_first_chunk::<ID_LEN>()?;
        let id = self.hide(*hidden, list);
        let mut mac = self.mac(b"nahook cursor tag", list)?;
        mac.update(&id);
        mac.verify_truncated_left(tag).ok()?;
        let id = u128::from_be_bytes(id);
        (tag.len() == TAG_LEN).then(|| DeliveryId::from_bits(id))
    }

    fn tag(&self, list: &List, id: [u8; ID_LEN]) -> [u8; TAG_LEN] {
        let Some(mut mac) = self.mac(b"nahook cursor tag", list) else {
            return [0; TAG_LEN];
        };
        mac.update(&id);
        first(&mac.finalize().into_bytes())
    }

    /// Mixes the id with bytes of the list's own: its text shows neither an id nor a time. Twice gives the id back.
    fn hide(&self, id: [u8; ID_LEN], list: &List) -> [u8; ID_LEN] {
        let Some(mac) = self.mac(b"nahook cursor id", list) else {
            return id;
        };
        let mask: [u8; ID_LEN] = first(&mac.finalize().into_bytes());
        std::array::from_fn(|at| id[at] ^ mask[at])
    }

    /// A key of any length is fine, so this is never `None`.
    fn mac(&self, purpose: &[u8], list: &List) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(purpose);
        let status = list.status.map_or("", DeliveryStatus::as_str);
        for part in [list.workspace.as_str(), list.endpoint.as_str(), status] {
            // Ids hold no NUL, so the parts cannot run into each other.
            mac.update(&[0]);
            mac.update(part.as_bytes());
        }
        mac.update(&[0]);
        Some(mac)
    }
}

fn first<const LEN: usize>(bytes: &[u8]) -> [u8; LEN] {
    std::array::from_fn(|at| bytes.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use nahook_core::MessageId;
    use proptest::prelude::*;

    use super::*;

    fn list(workspace: &str, endpoint: &str, status: Option<DeliveryStatus>) -> List {
        List {
            workspace: WorkspaceId::new(workspace).unwrap(),
            endpoint: EndpointId::new(endpoint).unwrap(),
            status,
        }
    }

    fn some_id(bits: u128) -> DeliveryId {
        DeliveryId::nth(MessageId::from_bits(bits), 0)
    }

    #[test]
    fn a_cursor_opens_in_its_own_list_only() {
        let seal = Seal::new([7; 32]);
        let own = list("ws_1", "ep_1", None);
        let cursor = seal.close(&own, some_id(99));
        assert_eq!(seal.open(&own, &cursor), Some(some_id(99)));
        let others = [
            list("ws_2", "ep_1", None),
            list("ws_1", "ep_2", None),
            list("ws_1", "ep_1", Some(DeliveryStatus::Failed)),
        ];
        for other in others {
            assert_eq!(seal.open(&other, &cursor), None, "{other:?}");
        }
        assert_eq!(Seal::new([8; 32]).open(&own, &cursor), None);
    }

    #[test]
    fn a_cursor_shows_no_id() {
        let seal = Seal::new([7; 32]);
        let id = some_id(u128::from_be_bytes(*b"abcdefghijklmnop"));
        let cursor = seal.close(&list("ws_1", "ep_1", None), id);
        let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap();
        assert_ne!(bytes[..16], id.as_bits().to_be_bytes());
    }

    proptest! {
        #[test]
        fn nothing_but_what_was_made_opens(bits in any::<u128>(), at in 0_usize..43, with in "[A-Za-z0-9_-]", rest in ".{0,60}") {
            let seal = Seal::new([7; 32]);
            let own = list("ws_1", "ep_1", None);
            let cursor = seal.close(&own, some_id(bits));
            let mut changed = cursor.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(seal.open(&own, &changed).is_some(), changed == cursor);
            prop_assert_eq!(seal.open(&own, &rest), None);
            prop_assert_eq!(seal.open(&own, &cursor[..at]), None);
            prop_assert_eq!(seal.open(&own, &(cursor + &with)), None);
        }
    }
}
