//! Cursors of lists of deliveries: opaque, and refused by any other list.
//!
//! A cursor is no secret and grants nothing: a list is bounded by its caller's own scope whatever cursor it is given. The
//! checksum only turns mix-ups into errors.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_queue::DeliveryStatus;
use sha2::{Digest as _, Sha256};

/// Bytes of a delivery's id.
const ID_LEN: usize = 16;
/// Bytes of the checksum.
const SUM_LEN: usize = 16;

/// The list that a cursor belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct List {
    pub(crate) workspace: WorkspaceId,
    pub(crate) endpoint: EndpointId,
    pub(crate) status: Option<DeliveryStatus>,
}

impl List {
    /// Returns the cursor of the page after that delivery.
    pub(crate) fn cursor(&self, after: DeliveryId) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes(after))
    }

    /// Returns the last delivery of the page before; `None` if the text is no cursor of this list.
    pub(crate) fn read(&self, cursor: &str) -> Option<DeliveryId> {
        let mut bytes = [0; ID_LEN + SUM_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(cursor, &mut bytes).ok()?;
        let id = DeliveryId::from_bits(u128::from_be_bytes(*bytes.first_chunk()?));
        (bytes.get(..len)? == self.bytes(id)).then_some(id)
    }

    fn bytes(&self, id: DeliveryId) -> [u8; ID_LEN + SUM_LEN] {
        let status = self.status.map_or("", DeliveryStatus::as_str);
        let id = id.as_bits().to_be_bytes();
        let mut sum = Sha256::new_with_prefix(id);
        for part in [self.workspace.as_str(), self.endpoint.as_str(), status] {
            sum.update(part);
            // Ids hold no NUL, so the parts cannot run into each other.
            sum.update([0]);
        }
        let mut bytes: [u8; ID_LEN + SUM_LEN] = sum.finalize().into();
        bytes.rotate_right(ID_LEN);
        bytes[..ID_LEN].copy_from_slice(&id);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::MessageId;
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
    fn cursor_is_read_by_its_own_list_only() {
        let own = list("ws_1", "ep_1", None);
        let cursor = own.cursor(some_id(99));
        assert_eq!(own.read(&cursor), Some(some_id(99)));
        let others = [
            list("ws_2", "ep_1", None),
            list("ws_1", "ep_2", None),
            list("ws_1e", "p_1", None),
            list("ws_1", "ep_1", Some(DeliveryStatus::Failed)),
        ];
        for other in others {
            assert_eq!(other.read(&cursor), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_what_was_made_is_read(bits in any::<u128>(), at in 0_usize..43, with in "[A-Za-z0-9_-]", rest in ".{0,60}") {
            let own = list("ws_1", "ep_1", None);
            let cursor = own.cursor(some_id(bits));
            let mut changed = cursor.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(own.read(&changed).is_some(), changed == cursor);
            prop_assert_eq!(own.read(&rest), None);
            prop_assert_eq!(own.read(&cursor[..at]), None);
            prop_assert_eq!(own.read(&(cursor + &with)), None);
        }
    }
}
