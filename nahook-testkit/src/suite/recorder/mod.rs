//! Promises of every [`DeliveryRecorder`].

mod story;

use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_core::{EventTypeRef, IdempotencyKey, Payload};
use nahook_queue::{
    DeliveryLog, DeliveryRecord, DeliveryRecorder, DeliverySearch, DeliveryState, DeliveryStatus,
    Next, Settled, Settlement, StatsQuery,
};

use self::story::{Shown, Story, orders, record, shown};
use super::queue::{Shop, attempt};
use crate::declare::{event, event_type_id, metadata, nth_endpoint_id, payload, workspace_id};
use crate::{RecorderHarness, SearchHarness};

const SECOND: Duration = Duration::from_secs(1);

/// A delivery that is recorded as accepted is shown as one of the store's own would be: pending, with message, endpoint,
/// event type, labels, payload and the instant of acceptance.
pub async fn what_is_recorded_is_shown<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let mut event = shop.event();
    event.metadata = metadata(&[("a", "1"), ("ключ", "\u{1f980}")]);
    event.payload = payload("{ \"b\" : 1.0e+02,\n\"a\":\"\\u0041\" }");
    let story = Story::of(event, &[1, 0]);
    record(&shop, &[story.accepted(0), story.accepted(1)]).await;
    for (nth, endpoint) in [(0, 1), (1, 0)] {
        let shown = shown(&shop, story.id(nth)).await;
        assert_eq!(
            shown.record,
            DeliveryRecord {
                id: story.id(nth),
                message: story.event.id,
                endpoint: nth_endpoint_id(endpoint),
                idempotency_key: IdempotencyKey::of(story.id(nth)),
                event_type: Some(event_type_id("ws_shop", "order.paid")),
                metadata: story.event.metadata.clone(),
                status: DeliveryStatus::Pending,
                attempts: 0,
                first_attempt_at: None,
                delivered_at: None,
                next_retry_at: None,
                has_payload: true,
                created_at: story.event.accepted_at,
                updated_at: story.event.accepted_at,
            },
            "as it was recorded"
        );
        assert_eq!(shown.attempts, [], "no attempts");
        let (log, workspace) = (shop.harness.log(), workspace_id("ws_shop"));
        let payload = log.payload(story.id(nth), &workspace).await;
        assert_eq!(
            payload.expect("the log can be asked"),
            Some(story.event.payload.clone()),
            "the payload, byte for byte"
        );
    }
}

/// An event whose payload is not kept is shown without one.
pub async fn a_payload_that_is_not_kept_is_not_shown<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut event = shop.event();
    event.payload = Payload::not_kept();
    let story = Story::of(event, &[0]);
    record(&shop, &story.whole(0)).await;
    let shown = shown(&shop, story.id(0)).await;
    assert!(!shown.record.has_payload, "there is none");
    assert_eq!(shown.attempts.len(), 3, "the rest is shown");
    let workspace = workspace_id("ws_shop");
    let payload = shop.harness.log().payload(story.id(0), &workspace).await;
    assert_eq!(
        payload.expect("the log can be asked"),
        None,
        "there is none"
    );
}

/// A delivery with an id that was given, the first of its message, is found by that id, beside its neighbours.
pub async fn given_ids_are_kept<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let ids = ["del_fixture_001", "del_fixture_002", "del_z", "del_0"];
    let ids = ids.map(|id| id.parse::<DeliveryId>().expect("a given id"));
    for id in ids {
        let mut event = shop.event();
        event.id = id.message_if_first();
        let story = Story::of(event, &[0]);
        assert_eq!(story.id(0), id, "the first of its message");
        record(&shop, &story.whole(0)).await;
    }
    let (log, workspace) = (shop.harness.log(), workspace_id("ws_shop"));
    for id in ids {
        let shown = log.delivery(id, &workspace).await;
        let shown = shown.expect("the log can be asked");
        assert_eq!(shown.map(|record| record.id), Some(id), "found by its id");
    }
    let absent = "del_fixture_003".parse().expect("a given id");
    let shown = log.delivery(absent, &workspace).await;
    assert_eq!(shown.expect("the log can be asked"), None, "nobody's id");
}

/// Attempts, a retry that is due and the success are shown with their instants.
pub async fn a_retry_and_a_success_are_shown<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let story = Story::of(shop.event(), &[0]);
    record(&shop, &[story.accepted(0)]).await;
    record(&shop, &[story.retried(0, 1)]).await;
    let waiting = shown(&shop, story.id(0)).await;
    assert_eq!(
        (waiting.record.status, waiting.record.attempts),
        (DeliveryStatus::ScheduledRetry, 1),
        "it waits for its second attempt"
    );
    assert_eq!(waiting.record.first_attempt_at, Some(story.began(1)));
    assert_eq!(waiting.record.next_retry_at, Some(story.due(1)));
    assert_eq!(waiting.record.delivered_at, None, "not delivered yet");
    assert_eq!(waiting.record.updated_at, story.ended(1));

    record(&shop, &[story.ended_as(0, 2, DeliveryState::Delivered)]).await;
    let delivered = shown(&shop, story.id(0)).await;
    assert_eq!(
        (delivered.record.status, delivered.record.attempts),
        (DeliveryStatus::Delivered, 2),
        "the second attempt succeeded"
    );
    assert_eq!(delivered.record.first_attempt_at, Some(story.began(1)));
    assert_eq!(delivered.record.next_retry_at, None, "nothing is due");
    assert_eq!(delivered.record.delivered_at, Some(story.ended(2)));
    assert_eq!(delivered.record.updated_at, story.ended(2));
    let expected: Vec<_> = [1, 2].map(|number| story.attempt_record(number)).into();
    assert_eq!(delivered.attempts, expected, "oldest first, as recorded");
}

/// Every state shows as its status; one that ends without an attempt, too.
pub async fn every_standing_has_its_status<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let at = shop.now();
    for (state, status) in [
        (DeliveryState::DeadLetter, DeliveryStatus::DeadLetter),
        (DeliveryState::Delivered, DeliveryStatus::Delivered),
        (DeliveryState::Failed, DeliveryStatus::Failed),
        (DeliveryState::Pending, DeliveryStatus::Pending),
        (DeliveryState::Retry(at), DeliveryStatus::ScheduledRetry),
    ] {
        assert_eq!(state.status(), status);
        let story = Story::of(shop.event(), &[0]);
        let mut entry = story.ended_as(0, 0, state);
        entry.attempt = None;
        record(&shop, &[entry]).await;
        let shown = shown(&shop, story.id(0)).await;
        assert_eq!(shown.record.status, status, "the status of {state:?}");
        let retry_at = (status == DeliveryStatus::ScheduledRetry).then_some(at);
        assert_eq!(shown.record.next_retry_at, retry_at, "of {state:?}");
        let is_delivered = shown.record.delivered_at.is_some();
        assert_eq!(is_delivered, state == DeliveryState::Delivered);
        assert_eq!(shown.attempts, [], "without an attempt");
    }
    let story = Story::of(shop.event(), &[0]);
    let mut entry = story.ended_as(0, 1, DeliveryState::Failed);
    if let Some(attempt) = &mut entry.attempt {
        attempt.error = Some("not attempted: the endpoint is disabled".to_owned());
    }
    record(&shop, &[entry]).await;
    let shown = shown(&shop, story.id(0)).await;
    assert_eq!(shown.attempts.len(), 1, "the reason is shown");
    assert_eq!(shown.record.first_attempt_at, None, "no request was made");
}

/// Recording again changes nothing, whether in one call or in another.
pub async fn repeats_change_nothing<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let story = Story::of(shop.event(), &[0]);
    let entries = story.whole(0);
    record(&shop, &entries).await;
    let once = shown(&shop, story.id(0)).await;
    record(&shop, &entries).await;
    assert_eq!(shown(&shop, story.id(0)).await, once, "recorded again");
    let twice: Vec<_> = entries.iter().chain(&entries).cloned().collect();
    record(&shop, &twice).await;
    assert_eq!(shown(&shop, story.id(0)).await, once, "twice in one call");
    assert_eq!(once.record.attempts, 3, "none was counted twice");
}

/// Whatever the order, in one call or in several, the log shows the same in the end.
pub async fn order_does_not_matter<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut expected: Option<Shown> = None;
    for order in orders(4) {
        for in_one_call in [true, false] {
            let story = Story::of(shop.event(), &[0]);
            let told = story.whole(0);
            let entries: Vec<_> = order.iter().map(|at| told[*at].clone()).collect();
            if in_one_call {
                record(&shop, &entries).await;
            } else {
                for entry in entries {
                    record(&shop, &[entry]).await;
                }
            }
            let shown = shown(&shop, story.id(0)).await.of(&story);
            let expected = expected.get_or_insert_with(|| shown.clone());
            assert_eq!(&shown, expected, "told in the order {order:?}");
            assert_eq!(shown.record.status, DeliveryStatus::Delivered);
        }
    }
}

/// Two workers that attempted a delivery at once, each for the other's back, agree on one record in any order: a success
/// counts more than a failure, and of two attempts with one number the one that began first.
pub async fn attempts_at_once_agree<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut expected: Option<Shown> = None;
    for order in orders(4) {
        let story = Story::of(shop.event(), &[0]);
        let mut late = story.ended_as(0, 1, DeliveryState::Delivered);
        late.at = late.at.saturating_add(SECOND);
        if let Some(attempt) = &mut late.attempt {
            attempt.started_at = attempt.started_at.saturating_add(SECOND);
            attempt.status_code = Some(204);
        }
        let mut later = late.clone();
        later.at = later.at.saturating_add(SECOND);
        let told = [
            story.retried(0, 1),
            story.ended_as(0, 1, DeliveryState::DeadLetter),
            late.clone(),
            later,
        ];
        for at in &order {
            record(&shop, &[told[*at].clone()]).await;
        }
        let shown = shown(&shop, story.id(0)).await;
        assert_eq!(shown.record.status, DeliveryStatus::Delivered);
        assert_eq!(
            shown.record.delivered_at,
            Some(late.at),
            "the first success"
        );
        assert_eq!(shown.attempts, [story.attempt_record(1)], "the first began");
        let shown = shown.of(&story);
        let expected = expected.get_or_insert_with(|| shown.clone());
        assert_eq!(&shown, expected, "told in the order {order:?}");
    }
}

/// The record of one delivery is not shown of its siblings.
pub async fn siblings_are_recorded_apart<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    let story = Story::of(shop.event(), &[0, 1, 2]);
    record(
        &shop,
        &[
            story.ended_as(0, 1, DeliveryState::Delivered),
            story.accepted(2),
            story.retried(1, 1),
        ],
    )
    .await;
    for (nth, status, attempts) in [
        (0, DeliveryStatus::Delivered, 1),
        (1, DeliveryStatus::ScheduledRetry, 1),
        (2, DeliveryStatus::Pending, 0),
    ] {
        let shown = shown(&shop, story.id(nth)).await;
        assert_eq!(
            (shown.record.status, shown.attempts.len()),
            (status, attempts),
            "of delivery {nth}"
        );
    }
}

/// The store's own queue leases nothing that is recorded, at no time and after no restart; nor does it wait for it.
pub async fn what_is_recorded_is_never_leased<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let pending = Story::of(shop.event(), &[0]);
    let retried = Story::of(shop.event(), &[0]);
    record(&shop, &[pending.accepted(0), retried.retried(0, 1)]).await;
    shop.advance(Duration::from_hours(1));
    assert_eq!(shop.lease_ids(1).await, [], "nothing is there to be leased");
    let own = shop.publish_one().await;
    assert_eq!(shop.lease_ids(1).await, [own], "but what is its own");
    let Some(shop) = shop.restarted().await else {
        return;
    };
    shop.advance(Duration::from_hours(1));
    assert_eq!(shop.lease_ids(2).await, [own], "nor after a restart");
}

/// The stats tell since when the first of those that are recorded as pending was accepted.
pub async fn stats_tell_the_age_of_what_is_recorded<H: RecorderHarness + SearchHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let first = Story::of(shop.event(), &[0]);
    shop.advance(SECOND);
    let second = Story::of(shop.event(), &[0, 1]);
    record(
        &shop,
        &[first.accepted(0), second.accepted(0), second.accepted(1)],
    )
    .await;
    let oldest = async |endpoint: Option<usize>| {
        let query = StatsQuery {
            workspace: workspace_id("ws_shop"),
            endpoint: endpoint.map(nth_endpoint_id),
            count_max: 10,
            is_unsettled_only: true,
        };
        let stats = shop.harness.search().stats(&query).await;
        stats.expect("the log can be asked").oldest_due_at
    };
    let [since, later] = [&first, &second].map(|story| Some(story.event.accepted_at));
    assert_eq!(
        [
            oldest(None).await,
            oldest(Some(0)).await,
            oldest(Some(1)).await
        ],
        [since, since, later]
    );
    record(&shop, &[first.ended_as(0, 1, DeliveryState::Delivered)]).await;
    assert_eq!(oldest(None).await, later, "the first is settled");
}

/// A delivery that the store's own queue carries is not changed by an entry about it: it is leased, settled and shown as
/// if there had been none.
pub async fn the_stores_own_deliveries_are_left_alone<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let story = Story::of(shop.event(), &[0]);
    shop.publish_event(&story.event, &[0]).await;
    let before = shown(&shop, story.id(0)).await;
    record(&shop, &story.whole(0)).await;
    assert_eq!(shown(&shop, story.id(0)).await, before, "as it was");
    let leased = shop.lease_one(1).await;
    let settlement = Settlement {
        lease: leased.lease,
        attempt: Some(attempt(shop.now())),
        next: Next::Failed,
    };
    assert_eq!(shop.settle_all(&[settlement]).await, [Settled::Done]);
    let settled = shown(&shop, story.id(0)).await;
    record(&shop, &story.whole(0)).await;
    assert_eq!(
        shown(&shop, story.id(0)).await,
        settled,
        "as it was settled"
    );
}

/// A record is shown to its own workspace only.
pub async fn other_workspaces_see_nothing_recorded<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let story = Story::of(shop.event(), &[0]);
    record(&shop, &story.whole(0)).await;
    let (log, other) = (shop.harness.log(), workspace_id("ws_other"));
    let delivery = log.delivery(story.id(0), &other).await;
    assert_eq!(delivery.expect("the log can be asked"), None);
    let attempts = log.attempts(story.id(0), &other).await;
    assert_eq!(attempts.expect("the log can be asked"), None);
    let payload = log.payload(story.id(0), &other).await;
    assert_eq!(payload.expect("the log can be asked"), None);
}

/// An entry of no workspace, or for no endpoint of its workspace, is dropped, and its siblings are recorded.
pub async fn the_unknown_is_dropped_and_its_siblings_recorded<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let stray = Story::of(event("ws_nowhere", "order.paid", 7, shop.now()), &[0]);
    let story = Story::of(shop.event(), &[0, 999]);
    let entries = [stray.accepted(0), story.accepted(1), story.accepted(0)];
    record(&shop, &entries).await;
    let shown = shown(&shop, story.id(0)).await;
    assert_eq!(shown.record.status, DeliveryStatus::Pending);
    for (id, workspace) in [
        (story.id(1), "ws_shop"),
        (stray.id(0), "ws_shop"),
        (stray.id(0), "ws_nowhere"),
    ] {
        let found = shop.harness.log();
        let found = found.delivery(id, &workspace_id(workspace)).await;
        let found = found.expect("the log can be asked");
        assert_eq!(found, None, "{id} of {workspace}");
    }
}

/// An event type that the store does not know keeps its id in the log.
pub async fn an_unknown_event_type_is_remembered<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut event = shop.event();
    let vanished = event_type_id("ws_shop", "order.vanished");
    event.event_type = Some(EventTypeRef {
        id: vanished,
        name: crate::declare::event_type_name("order.vanished"),
    });
    let story = Story::of(event, &[0]);
    record(&shop, &[story.accepted(0)]).await;
    let shown = shown(&shop, story.id(0)).await;
    assert_eq!(shown.record.event_type, Some(vanished));
}

/// A direct delivery has no event type, and has the key that its caller gave.
pub async fn a_direct_delivery_is_recorded_with_its_key<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut event = shop.event();
    event.event_type = None;
    event.idempotency_key = Some(crate::declare::idempotency_key("k\0'é"));
    let story = Story::of(event, &[0]);
    record(&shop, &[story.accepted(0)]).await;
    let shown = shown(&shop, story.id(0)).await;
    assert_eq!(shown.record.event_type, None);
    assert_eq!(
        Some(shown.record.idempotency_key),
        story.event.idempotency_key
    );
}

/// A batch of thousands, of many events and of a wide one, is recorded whole.
pub async fn a_wide_batch_is_recorded<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(1_000).await;
    let everybody: Vec<usize> = (0..1_000).collect();
    let wide = Story::of(shop.event(), &everybody);
    let narrow: Vec<_> = (0..500).map(|n| Story::of(shop.event(), &[n])).collect();
    let mut entries: Vec<_> = (0..1_000).map(|nth| wide.accepted(nth)).collect();
    entries.extend((0..1_000).map(|nth| wide.ended_as(nth, 1, DeliveryState::Delivered)));
    entries.extend(narrow.iter().map(|story| story.retried(0, 1)));
    record(&shop, &entries).await;
    for nth in [0, 1, 499, 998, 999] {
        let shown = shown(&shop, wide.id(nth)).await;
        assert_eq!(shown.record.status, DeliveryStatus::Delivered, "{nth}");
        assert_eq!(shown.record.endpoint, nth_endpoint_id(nth));
    }
    for story in [&narrow[0], &narrow[499]] {
        let shown = shown(&shop, story.id(0)).await;
        assert_eq!(shown.record.status, DeliveryStatus::ScheduledRetry);
    }
}

/// Several who record the same at once, in different orders, agree; where one of them is refused for the other's sake, it
/// may record again.
pub async fn concurrent_recording_agrees<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(8).await;
    let stories: Vec<_> = (0..20)
        .map(|_| Story::of(shop.event(), &[0, 1, 2, 3, 4, 5, 6, 7]))
        .collect();
    let entries: Vec<_> = stories
        .iter()
        .flat_map(|story| (0..8).flat_map(|nth| story.whole(nth)))
        .collect();
    let backwards: Vec<_> = entries.iter().rev().cloned().collect();
    let recording = [entries.clone(), backwards, entries].map(|entries| {
        let recorder = shop.harness.recorder();
        tokio::spawn(async move {
            for part in entries.chunks(50) {
                let mut tries = 0;
                while let Err(error) = recorder.record(part).await {
                    tries += 1;
                    assert!(tries < 100, "recording again does not help: {error:?}");
                }
            }
        })
    });
    for recording in recording {
        recording.await.expect("recording does not panic");
    }
    for story in &stories {
        for nth in 0..8 {
            let shown = shown(&shop, story.id(nth)).await;
            assert_eq!(shown.record.status, DeliveryStatus::Delivered);
            assert_eq!(shown.attempts.len(), 3, "each attempt once");
        }
    }
}

/// Every record is shown after an orderly restart, unless the store says that it survives none.
pub async fn the_record_survives_a_restart<H: RecorderHarness>() {
    let shop = Shop::<H>::with_endpoints(2).await;
    let story = Story::of(shop.event(), &[0, 1]);
    record(&shop, &story.whole(0)).await;
    record(&shop, &[story.retried(1, 1)]).await;
    let before = [0, 1].map(|nth| story.id(nth));
    let mut expected = Vec::new();
    for id in before {
        expected.push(shown(&shop, id).await);
    }
    let Some(shop) = shop.restarted().await else {
        return;
    };
    for (id, expected) in before.into_iter().zip(expected) {
        assert_eq!(shown(&shop, id).await, expected, "after the restart");
    }
    // And what comes then goes on from there.
    record(&shop, &[story.ended_as(1, 2, DeliveryState::Delivered)]).await;
    let shown = shown(&shop, story.id(1)).await;
    assert_eq!(shown.record.status, DeliveryStatus::Delivered);
    assert_eq!(shown.attempts.len(), 2, "both attempts");
}
