//! The receivers of webhooks, and the network before them.

use std::time::Duration;

use bytes::Bytes;
use nahook_core::Clock;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_delivery::{OutboundRequest, OutboundResponse, RetryAfter, Transport, TransportError};
use tokio::time::sleep;

use crate::oracle::is_well;
use crate::plan::Faults;
use crate::wire::Wire;
use crate::world::JumpingClock;

/// The network from one life of a server to all receivers.
pub(crate) struct Receivers {
    pub(crate) wire: Wire,
    /// The store's, by which leases end.
    pub(crate) clock: JumpingClock,
}

/// URL of an endpoint.
pub(crate) fn url(endpoint: EndpointId) -> String {
    format!("http://r.test/{endpoint}")
}

impl Transport for Receivers {
    async fn post(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        let Wire { world, life } = &self.wire;
        life.pass().await;
        let header = |name| request.headers.get(name)?.to_str().ok();
        let id = header("nahook-delivery-id").and_then(|text| text.parse::<DeliveryId>().ok());
        let number = header("nahook-attempt").and_then(|text| text.parse().ok());
        let (Some(id), Some(number)) = (id, number) else {
            world.with(|state| {
                state
                    .oracle
                    .complain("a request without headers".to_owned());
            });
            return Err(TransportError::Closed);
        };
        let path = request.url.as_uri().path().trim_start_matches('/');
        let endpoint = EndpointId::new(path).ok();
        let is_well = endpoint.is_some_and(is_well);
        let strikes = |kind, one_in| !is_well && world.strikes(kind, one_in);
        if strikes(Faults::FAIL, 8) {
            return Err(TransportError::Closed);
        }
        world.note("arrives", &[id.as_bits(), u128::from(number)]);
        let now = self.clock.now();
        world.with(|state| {
            let oracle = &mut state.oracle;
            oracle.arrives(id, endpoint, &request.body, number, life.number, now);
        });
        if strikes(Faults::HANG, 12) {
            sleep(Duration::from_secs(15)).await;
            return Err(TransportError::Closed);
        }
        if strikes(Faults::SLOW, 4) {
            sleep(world.time(Duration::from_secs(14))).await;
        } else {
            sleep(world.time(Duration::from_millis(50))).await;
        }
        life.pass().await;
        let status = match () {
            () if strikes(Faults::GONE, 40) => 410,
            () if strikes(Faults::FAIL, 3) => [500, 503, 429, 302][id.as_bits() as usize % 4],
            () => 200,
        };
        world.note("answers", &[id.as_bits(), status.into()]);
        world.with(|state| state.oracle.answers(id, status, life.number));
        if status == 200 && strikes(Faults::FAIL, 12) {
            // It took it, and its answer is lost.
            return Err(TransportError::Closed);
        }
        let retry_after = (status == 429).then_some(RetryAfter::Delay(Duration::from_secs(30)));
        Ok(OutboundResponse {
            status,
            retry_after,
            body: Bytes::new(),
        })
    }
}
