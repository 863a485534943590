//! Receipts written to bytes read the same as through serde.

use bytes::Bytes;
use nahook_core::id::{EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{
    EndpointState, EventTypeName, FailureKind, FanOut, Metadata, NewEvent, Outcome, Payload,
    Receipt, Scope, StoreError, Subscribers, SubscriptionStore,
};
use nahook_http::wire::write_receipt;
use proptest::prelude::*;
use serde::Serialize;

use crate::ingestion::support::Scripted;

/// Answers the same subscribers to everybody.
struct Fixed(Subscribers);

impl SubscriptionStore for Fixed {
    async fn subscribers(
        &self,
        _: &EventTypeName,
        _: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        _: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        Ok(vec![EndpointState::Active; ids.len()])
    }
}

fn receipt(endpoints: Vec<EndpointId>, outcomes: Vec<Outcome>) -> Receipt {
    let subscribers = Subscribers {
        event_type: EventTypeId::new("evt_any").unwrap(),
        endpoints: endpoints.into(),
    };
    let engine = FanOut::new(Fixed(subscribers), Scripted(outcomes));
    let event = NewEvent {
        event_type: EventTypeName::new("any").unwrap(),
        payload: Payload::new(Bytes::from_static(b"{}")).unwrap(),
        metadata: Metadata::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let workspace = WorkspaceId::from_bits(1);
    runtime.block_on(engine.trigger(event, workspace)).unwrap()
}

/// The answer as the contract spells it, by serde.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spelled {
    event_type_id: String,
    delivery_ids: Vec<String>,
    status: &'static str,
    failures: Vec<SpelledFailure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpelledFailure {
    endpoint_id: String,
    code: &'static str,
    message: &'static str,
}

fn spelled(receipt: &Receipt) -> Vec<u8> {
    let failures = receipt.failures().map(|failure| SpelledFailure {
        endpoint_id: failure.endpoint.to_string(),
        code: failure.kind.code(),
        message: failure.kind.message(),
    });
    serde_json::to_vec(&Spelled {
        event_type_id: receipt.event_type().to_string(),
        delivery_ids: receipt.delivery_ids().map(|id| id.to_string()).collect(),
        status: "accepted",
        failures: failures.collect(),
    })
    .unwrap()
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Published),
        prop::sample::select(FailureKind::ALL.as_slice()).prop_map(Outcome::Failed),
    ]
}

fn endpoint() -> impl Strategy<Value = EndpointId> {
    proptest::collection::vec(
        prop::sample::select(b"abcXYZ019_".as_slice()).prop_map(char::from),
        1..=47,
    )
    .prop_map(|characters| EndpointId::new(&String::from_iter(characters)).unwrap())
}

proptest! {
    #[test]
    fn bytes_and_serde_agree(
        slots in proptest::collection::vec((endpoint(), outcome()), 0..60),
    ) {
        let (endpoints, outcomes) = slots.into_iter().unzip();
        let receipt = receipt(endpoints, outcomes);
        let mut written = b"before".to_vec();
        write_receipt(&receipt, &mut written);
        prop_assert_eq!(&written[b"before".len()..], spelled(&receipt));
    }
}
