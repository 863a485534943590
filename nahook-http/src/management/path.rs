//! The ids in a path.

use std::str::FromStr;

use nahook_core::id::{
    ApiKeyId, ApplicationId, DeliveryId, EndpointId, EnvironmentId, EventTypeId, ManagementTokenId,
    PatternId, WorkspaceId,
};
use serde_json::{Value, json};

use super::refusal::missing;
use crate::ApiError;

/// One id in a path.
pub(super) trait PathId: FromStr + Send {
    /// Name of the parameter in the path.
    const NAME: &'static str;
    /// Kind of record that has the id.
    const OF: &'static str;
    /// An id of the kind.
    const EXAMPLE: &'static str;
}

/// The ids of a path below the workspace, in their order.
pub(super) trait PathArgs: Sized + Send {
    /// Reads them; a text that can be no id is the id of nothing.
    fn read(given: &mut dyn Iterator<Item = &str>) -> Result<Self, ApiError>;

    /// Returns the OpenAPI document's description of the parameters.
    fn parameters() -> Vec<Value>;
}

macro_rules! path_id {
    ($id:ty, $name:literal, $of:literal, $example:literal) => {
        impl PathId for $id {
            const NAME: &'static str = $name;
            const OF: &'static str = $of;
            const EXAMPLE: &'static str = $example;
        }
        impl PathArgs for $id {
            fn read(given: &mut dyn Iterator<Item = &str>) -> Result<Self, ApiError> {
                read_one(given)
            }
            fn parameters() -> Vec<Value> {
                vec![parameter::<Self>()]
            }
        }
    };
}

path_id!(
    ApiKeyId,
    "keyId",
    "API key",
    "key_01kb0example0000000000000"
);
path_id!(ApplicationId, "applicationId", "application", "app_acme");
path_id!(
    DeliveryId,
    "deliveryId",
    "delivery",
    "del_01kb0d9n8r7q6p5m4k3j2h1g0f"
);
path_id!(EndpointId, "endpointId", "endpoint", "ep_orders");
path_id!(EnvironmentId, "environmentId", "environment", "env_staging");
path_id!(EventTypeId, "eventTypeId", "event type", "evt_order_paid");
path_id!(ManagementTokenId, "tokenId", "management token", "tok_ci");
path_id!(
    PatternId,
    "patternId",
    "pattern",
    "pat_01kb0d9n8r7q6p5m4k3j2h1g0f"
);
path_id!(WorkspaceId, "workspaceId", "workspace", "ws_shop");

impl PathArgs for () {
    fn read(_: &mut dyn Iterator<Item = &str>) -> Result<Self, ApiError> {
        Ok(())
    }

    fn parameters() -> Vec<Value> {
        Vec::new()
    }
}

impl<A: PathId, B: PathId> PathArgs for (A, B) {
    fn read(given: &mut dyn Iterator<Item = &str>) -> Result<Self, ApiError> {
        Ok((read_one(given)?, read_one(given)?))
    }

    fn parameters() -> Vec<Value> {
        vec![parameter::<A>(), parameter::<B>()]
    }
}

fn read_one<T: PathId>(given: &mut dyn Iterator<Item = &str>) -> Result<T, ApiError> {
    let text = given.next().unwrap_or_default();
    text.parse().map_err(|_| missing(T::OF))
}

/// Returns the OpenAPI document's description of an id in a path.
pub(super) fn parameter<T: PathId>() -> Value {
    json!({
        "name": T::NAME,
        "in": "path",
        "required": true,
        "description": format!("The id of the {}.", T::OF),
        // More than an id is: what can be no id is answered like an id that nothing has.
        "schema": { "type": "string", "minLength": 1 },
        "example": T::EXAMPLE,
    })
}
