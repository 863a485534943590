//! Invariants 6, 7 and 9: ids, bytes, and that nothing is left to chance.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use nahook_core::id::DeliveryId;
use nahook_core::{EventTypeName, Metadata, NewEvent, Payload};
use proptest::collection::btree_map;
use proptest::prelude::*;

use crate::case::{Case, admitted_cases, cases};
use crate::run::{Stage, event, in_paused_time, run, run_with};

/// A payload that no serialiser would write, in a body that is longer than it, and metadata.
fn odd_events() -> impl Strategy<Value = (Bytes, NewEvent)> {
    let metadata = btree_map("[a-z]{1,8}", ".{0,16}", 0..=Metadata::KEYS_MAX);
    let space = "[ \n\r\t]{0,3}";
    (space, space, "[a-zé€😀]{0,40}", 0_u32..1_000, metadata).prop_map(
        |(around, inside, text, number, metadata)| {
            let payload = format!(
                "{{{inside}\"b\"{inside}:{inside}{number}.50E+01,\"a\":\"\\u0041{text}\",{inside}\"a\":[]}}"
            );
            let body = Bytes::from(format!("{around}{payload}{around}"));
            let event = NewEvent {
                event_type: EventTypeName::new("order.paid").unwrap(),
                payload: Payload::new(body.clone()).unwrap(),
                metadata: Metadata::new(metadata).unwrap(),
            };
            (Bytes::from(payload), event)
        },
    )
}

fn ids(answer: &nahook_core::Receipt) -> impl Iterator<Item = DeliveryId> + '_ {
    answer.deliveries().iter().map(nahook_core::Delivery::id)
}

proptest! {
    /// Invariant 6.
    #[test]
    fn the_same_trigger_twice_has_disjoint_ids_and_twice_the_deliveries(
        case in admitted_cases(),
        side_by_side in any::<bool>(),
    ) {
        let once = run(&case);
        let (first, second, truth) = in_paused_time(async {
            let stage = Stage::new(&case);
            let (first, second) = if side_by_side {
                tokio::join!(stage.trigger(&case, event()), stage.trigger(&case, event()))
            } else {
                let first = stage.trigger(&case, event()).await;
                (first, stage.trigger(&case, event()).await)
            };
            (first, second, stage.truth_at_last().await)
        });
        prop_assert_eq!(truth.held.len(), 2 * once.truth.held.len());
        let held: HashSet<_> = truth.held.iter().map(|held| held.delivery).collect();
        prop_assert_eq!(held.len(), truth.held.len());

        prop_assert_eq!(first.is_ok(), once.answer.is_ok());
        prop_assert_eq!(second.is_ok(), once.answer.is_ok());
        if let (Ok(first), Ok(second)) = (first, second) {
            prop_assert_ne!(first.message(), second.message());
            let all: HashSet<_> = ids(&first).chain(ids(&second)).collect();
            prop_assert_eq!(all.len(), 2 * case.queue.faults.len());
            for held in &truth.held {
                prop_assert!(all.contains(&held.delivery));
            }
        }
    }

    /// Invariant 7.
    #[test]
    fn the_payload_is_the_callers_bytes_for_everybody_and_shared(
        case in admitted_cases(),
        (bytes, event) in odd_events(),
    ) {
        let ran = run_with(&case, event.clone());
        for held in &ran.truth.held {
            let payload = held.payload.as_bytes();
            prop_assert_eq!(payload, &bytes);
            prop_assert_eq!(payload.as_ptr(), event.payload.as_bytes().as_ptr());
            let labels: BTreeMap<_, _> = held.metadata.clone().into();
            prop_assert_eq!(&labels, event.metadata.as_map());
        }
    }

    /// Invariant 9.
    #[test]
    fn the_same_seed_gives_the_same_receipt(case in cases()) {
        let (first, again) = (run(&case), run(&case));
        prop_assert_eq!(format!("{:?}", first.answer), format!("{:?}", again.answer));
        let reseeded = Case {
            seed: !case.seed,
            ..case
        };
        let (Ok(first), Ok(again)) = (first.answer, again.answer) else { return Ok(()) };
        prop_assert_eq!(&first, &again);
        let other = run(&reseeded).answer;
        prop_assert!(other.is_ok_and(|other| other.message() != first.message()));
    }
}
