//! Promises of every [`DeliveryLog`].

use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_core::{IdempotencyKey, Timestamp};
use nahook_queue::{
    Attempt, AttemptRecord, DeliveryLog, DeliveryRecord, DeliveryStatus, LeasedDelivery, Next,
    Settled, Settlement,
};

use super::queue::{Shop, attempt};
use crate::LogHarness;
use crate::declare::{event_type_id, metadata, nth_endpoint_id, payload, workspace_id};

const SECOND: Duration = Duration::from_secs(1);

/// A delivery that nobody has attempted is pending and carries what was published: message, endpoint, event type, labels
/// and the instant of acceptance.
pub async fn a_fresh_delivery_is_pending<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    let mut event = shop.event();
    event.metadata = metadata(&[("a", "1"), ("ключ", "\u{1f980}")]);
    let published = shop.publish_event(&event, &[2, 0]).await;
    for (id, endpoint) in published.into_iter().zip([2, 0]) {
        let record = record(&shop, id).await;
        assert_eq!(
            record,
            DeliveryRecord {
                id,
                message: event.id,
                endpoint: nth_endpoint_id(endpoint),
                idempotency_key: IdempotencyKey::of(id),
                event_type: Some(event_type_id("ws_shop", "order.paid")),
                metadata: event.metadata.clone(),
                status: DeliveryStatus::Pending,
                attempts: 0,
                first_attempt_at: None,
                delivered_at: None,
                next_retry_at: None,
                has_payload: true,
                created_at: event.accepted_at,
                updated_at: record.updated_at,
            },
            "as it was published, with nothing attempted"
        );
        assert_eq!(
            attempts(&shop, id).await,
            [],
            "there are no attempts, but there is a delivery"
        );
    }
}

/// The status follows the delivery from lease to lease: pending, delivering, scheduled for a retry, delivering, delivered;
/// with the instants of the first attempt, the next retry and the success.
pub async fn the_status_follows_the_delivery<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    expect_status(&shop, id, DeliveryStatus::Pending, 0).await;

    let leased = shop.lease_one(1).await;
    expect_status(&shop, id, DeliveryStatus::Delivering, 0).await;
    let first_began = shop.now();
    shop.advance(SECOND);
    let at = shop.now().saturating_add(10 * SECOND);
    end(&shop, &leased, first_began, Next::Retry(at)).await;
    let waiting = expect_status(&shop, id, DeliveryStatus::ScheduledRetry, 1).await;
    assert_eq!(
        waiting.first_attempt_at,
        Some(first_began),
        "when the first attempt began"
    );
    assert_eq!(waiting.next_retry_at, Some(at), "when it is to be retried");
    assert_eq!(waiting.delivered_at, None, "it is not delivered yet");

    shop.advance(10 * SECOND);
    let leased = shop.lease_one(1).await;
    expect_status(&shop, id, DeliveryStatus::Delivering, 1).await;
    let second_began = shop.now();
    shop.advance(SECOND);
    end(&shop, &leased, second_began, Next::Delivered).await;
    let delivered = expect_status(&shop, id, DeliveryStatus::Delivered, 2).await;
    assert_eq!(
        delivered.first_attempt_at,
        Some(first_began),
        "the first attempt stays the first"
    );
    assert_eq!(delivered.next_retry_at, None, "there is no further retry");
    let delivered_at = delivered
        .delivered_at
        .expect("a delivered one says when it was");
    assert!(
        second_began <= delivered_at && delivered_at <= shop.now(),
        "delivered between the beginning of the attempt and its settlement"
    );
    assert!(
        waiting.updated_at <= delivered.updated_at && delivered.updated_at <= shop.now(),
        "updated_at goes forward with what happens"
    );
}

/// Every way to end a lease shows as its status.
pub async fn every_end_has_its_status<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let ends = [
        (Next::DeadLetter, DeliveryStatus::DeadLetter),
        (Next::Delivered, DeliveryStatus::Delivered),
        (Next::Failed, DeliveryStatus::Failed),
    ];
    for (next, status) in ends {
        let id = shop.publish_one().await;
        let leased = shop.lease_one(1).await;
        end(&shop, &leased, shop.now(), next).await;
        let record = expect_status(&shop, id, status, 1).await;
        assert_eq!(record.next_retry_at, None, "there is no further retry");
        assert_eq!(
            record.delivered_at.is_some(),
            next == Next::Delivered,
            "only a delivered one says when it was: {next:?}"
        );
    }
    let id = shop.publish_one().await;
    let leased = shop.lease_one(1).await;
    shop.settle(leased.lease, Next::Release).await;
    expect_status(&shop, id, DeliveryStatus::Pending, 0).await;
    let leased = shop.lease_one(1).await;
    let mut attempt = attempt(shop.now());
    attempt.error = Some("not attempted: the endpoint is disabled".to_owned());
    let settlement = Settlement {
        lease: leased.lease,
        attempt: Some(attempt),
        next: Next::Failed,
    };
    shop.settle_all(&[settlement]).await;
    let record = expect_status(&shop, id, DeliveryStatus::Failed, 1).await;
    assert_eq!(record.first_attempt_at, None, "no request was made");
}

/// The attempts are shown oldest first, numbered from 1, each as it was settled.
pub async fn attempts_are_oldest_first<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let longest = "é".repeat(Attempt::RESPONSE_BODY_LEN_MAX / 2);
    let outcomes: [(Option<u16>, Option<&str>, Option<&str>); 4] = [
        (None, Some("the connection was refused"), None),
        (Some(500), Some("the receiver answered 500"), Some(&longest)),
        (
            Some(429),
            None,
            Some("'); \u{1}\u{202e}<script>\\\r\n\u{fffd}"),
        ),
        (Some(204), None, None),
    ];
    let mut expected = Vec::new();
    for (number, (status_code, error, body)) in (1..).zip(outcomes) {
        let leased = shop.lease_one(1).await;
        let attempt = Attempt {
            started_at: shop.now(),
            duration: Duration::from_millis(7 * u64::from(number)),
            status_code,
            error: error.map(str::to_owned),
            response_body: body.map(str::to_owned),
        };
        expected.push(AttemptRecord {
            number,
            attempt: attempt.clone(),
        });
        shop.advance(SECOND);
        let next = if number == 4 {
            Next::Delivered
        } else {
            Next::Retry(shop.now())
        };
        let settlement = Settlement {
            lease: leased.lease,
            attempt: Some(attempt),
            next,
        };
        assert_eq!(
            shop.settle_all(&[settlement]).await,
            [Settled::Done],
            "the lease is held"
        );
        assert_eq!(
            attempts(&shop, id).await,
            expected,
            "attempts, oldest first, as they were settled"
        );
    }
}

/// An attempt under a stale lease is not recorded.
pub async fn a_stale_attempt_is_not_shown<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let leased = shop.lease_one(1).await;
    end(&shop, &leased, shop.now(), Next::Delivered).await;
    for next in [Next::Failed, Next::Delivered, Next::Retry(shop.now())] {
        assert_eq!(
            shop.settle(leased.lease, next).await,
            Settled::LeaseLost,
            "settled before"
        );
    }
    expect_status(&shop, id, DeliveryStatus::Delivered, 1).await;
    assert_eq!(attempts(&shop, id).await.len(), 1, "one attempt was made");
}

/// Siblings of one event are shown apart: what becomes of one is not shown of another.
pub async fn siblings_are_shown_apart<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(3).await;
    let published = shop.publish(&[0, 1, 2]).await;
    for leased in shop.lease_all(1).await {
        let next = match published.iter().position(|id| *id == leased.lease.delivery) {
            Some(0) => Next::Delivered,
            Some(1) => Next::Failed,
            _ => Next::Release,
        };
        let attempt = (next != Next::Release).then(|| attempt(shop.now()));
        let settlement = Settlement {
            lease: leased.lease,
            attempt,
            next,
        };
        shop.settle_all(&[settlement]).await;
    }
    expect_status(&shop, published[0], DeliveryStatus::Delivered, 1).await;
    expect_status(&shop, published[1], DeliveryStatus::Failed, 1).await;
    expect_status(&shop, published[2], DeliveryStatus::Pending, 0).await;
}

/// The payload is shown byte for byte, before and after the delivery has ended.
pub async fn the_payload_is_shown_unchanged<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let mut event = shop.event();
    event.payload =
        payload("{ \"b\" : 1.0e+02,\n\"a\":12345678901234567890123 ,\"a\":\"\\u0041\" }");
    let id = shop.publish_event(&event, &[0]).await[0];
    for _ in 0..2 {
        let shown = shop
            .harness
            .log()
            .payload(id, &workspace_id("ws_shop"))
            .await;
        assert_eq!(
            shown.expect("the log can be asked"),
            Some(event.payload.clone()),
            "the payload, byte for byte"
        );
        for leased in shop.lease_all(1).await {
            end(&shop, &leased, shop.now(), Next::Delivered).await;
        }
    }
}

/// A delivery that does not exist, and one of another workspace, are not there at all: nothing tells the two apart.
pub async fn other_workspaces_see_nothing<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let leased = shop.lease_one(1).await;
    end(&shop, &leased, shop.now(), Next::Delivered).await;
    let nowhere = DeliveryId::nth(shop.event().id, 7);
    for (id, workspace) in [
        (id, "ws_other"),
        (nowhere, "ws_shop"),
        (nowhere, "ws_other"),
    ] {
        let (log, workspace) = (shop.harness.log(), workspace_id(workspace));
        let why = format!("{workspace} has no delivery {id}");
        let delivery = log.delivery(id, &workspace).await;
        assert_eq!(delivery.expect("the log can be asked"), None, "{why}");
        let attempts = log.attempts(id, &workspace).await;
        assert_eq!(attempts.expect("the log can be asked"), None, "{why}");
        let payload = log.payload(id, &workspace).await;
        assert_eq!(payload.expect("the log can be asked"), None, "{why}");
    }
}

/// The log shows the same after an orderly restart, unless it says that it survives none.
pub async fn the_log_survives_a_restart<H: LogHarness>() {
    let shop = Shop::<H>::with_endpoints(1).await;
    let id = shop.publish_one().await;
    let leased = shop.lease_one(1).await;
    let at = shop.now().saturating_add(SECOND);
    end(&shop, &leased, shop.now(), Next::Retry(at)).await;
    shop.advance(SECOND);
    let leased = shop.lease_one(1).await;
    end(&shop, &leased, shop.now(), Next::Delivered).await;
    let (record_before, attempts_before) = (record(&shop, id).await, attempts(&shop, id).await);
    let Some(shop) = shop.restarted().await else {
        return;
    };
    assert_eq!(
        record(&shop, id).await,
        record_before,
        "the delivery, as it was before the restart"
    );
    assert_eq!(
        attempts(&shop, id).await,
        attempts_before,
        "its attempts, as they were before the restart"
    );
}

async fn record<H: LogHarness>(shop: &Shop<H>, id: DeliveryId) -> DeliveryRecord {
    let record = shop
        .harness
        .log()
        .delivery(id, &workspace_id("ws_shop"))
        .await;
    let record = record.expect("the log can be asked");
    record.expect("the log shows a delivery that was published")
}

async fn attempts<H: LogHarness>(shop: &Shop<H>, id: DeliveryId) -> Vec<AttemptRecord> {
    let attempts = shop
        .harness
        .log()
        .attempts(id, &workspace_id("ws_shop"))
        .await;
    let attempts = attempts.expect("the log can be asked");
    attempts.expect("the log shows the attempts of a delivery that was published")
}

async fn expect_status<H: LogHarness>(
    shop: &Shop<H>,
    id: DeliveryId,
    status: DeliveryStatus,
    attempts: u32,
) -> DeliveryRecord {
    let record = record(shop, id).await;
    assert_eq!(
        (record.status, record.attempts),
        (status, attempts),
        "status and number of attempts of {id}"
    );
    record
}

async fn end<H: LogHarness>(
    shop: &Shop<H>,
    leased: &LeasedDelivery,
    started_at: Timestamp,
    next: Next,
) {
    let settlement = Settlement {
        lease: leased.lease,
        attempt: Some(attempt(started_at)),
        next,
    };
    assert_eq!(
        shop.settle_all(&[settlement]).await,
        [Settled::Done],
        "the lease is held"
    );
}
