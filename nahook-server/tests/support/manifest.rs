//! Manifests for the tests, as JSON.

use serde_json::{Value, json};

/// The usual key: it may trigger in the whole workspace.
pub(crate) const KEY: &str =
    "nhk_us_00000000000000000000000000000000000000000000000000000000000000e2";
/// The secret of every endpoint made here.
pub(crate) const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";
/// The event type that every endpoint made here is subscribed to.
pub(crate) const EVENT_TYPE: &str = "order.paid";

/// An endpoint that is subscribed to the event type.
pub(crate) fn endpoint(id: &str, url: &str) -> Value {
    json!({ "id": id, "url": url, "secret": SECRET, "event_types": [EVENT_TYPE] })
}

/// A workspace with these endpoints, the event type, one without subscribers, and the key.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every caller makes the list for this"
)]
pub(crate) fn shop(endpoints: Vec<Value>) -> Value {
    json!({ "workspaces": [{
        "id": "ws_shop",
        "name": "Shop",
        "event_types": [
            { "id": "evt_order_paid", "name": EVENT_TYPE },
            { "id": "evt_nobody", "name": "nobody.listens" },
        ],
        "endpoints": endpoints,
        "api_keys": [{ "id": "key_shop", "name": "shop", "key": KEY }],
    }] })
}
