//! Retention removes what has passed its time, in steps, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    Actor, ApplyMode, AuditQuery, Catalog, Management, ManagementStore, NewApplication,
    NewPortalSession,
};
use nahook_core::id::DeliveryId;
use nahook_core::{Clock, Delivery, DeliveryPublisher};
use nahook_queue::{
    Attempt, DeliveryLog, DeliveryQuery, DeliveryQueue, DeliveryRecorder, DeliverySearch,
    DeliveryState, LogEntry, Next, Redelivered, Redelivery, Settlement,
};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::ManualClock;
use nahook_testkit::declare::{Workspace, deliveries, event, nth_endpoint_id, workspace_id};

use crate::support::{EVENT_TYPE, Place, WORKSPACE, all_published, first_endpoints, request};

const DAY: Duration = Duration::from_hours(24);

const HOUR: Duration = Duration::from_hours(1);

/// A store whose clock the test sets, and that looks for what is old all the time.
struct Shop {
    place: Place,
    clock: ManualClock,
    store: SqliteStore,
}

impl Shop {
    async fn with_endpoints(count: usize) -> Self {
        Self::opened_with(count, |settings| {
            settings.retention_interval = Duration::from_millis(2);
        })
        .await
    }

    async fn opened_with(count: usize, set: impl FnOnce(&mut SqliteSettings)) -> Self {
        let (place, clock) = (Place::new(), ManualClock::default());
        let mut settings = SqliteSettings::server().with_clock(clock.clone());
        set(&mut settings);
        let store = SqliteStore::open(place.file(), settings).unwrap();
        let manifest = Workspace::new(WORKSPACE)
            .event_type(EVENT_TYPE)
            .endpoints(count)
            .manifest();
        store.apply(&manifest, ApplyMode::Commit).await.unwrap();
        Self {
            place,
            clock,
            store,
        }
    }

    async fn publish(&self, number: u64, endpoints: usize) -> Vec<DeliveryId> {
        let event = event(WORKSPACE, EVENT_TYPE, number, self.clock.now());
        let mut slots = deliveries(&event, &first_endpoints(endpoints));
        self.store.publish(&event, &mut slots).await;
        assert!(all_published(&slots));
        slots.iter().map(Delivery::id).collect()
    }

    /// Attempts everything that is due once, and ends it so.
    async fn settle_all(&self, next: Next) {
        let batch = self.store.lease(&request(10_000)).await.unwrap();
        let settle = |lease| Settlement {
            lease,
            attempt: Some(Attempt {
                started_at: self.clock.now(),
                duration: Duration::from_millis(1),
                status_code: Some(200),
                error: None,
                response_body: None,
            }),
            next,
        };
        let leases = batch.deliveries.iter().map(|leased| leased.lease);
        let settlements: Vec<_> = leases.map(settle).collect();
        self.store.settle(&settlements).await.unwrap();
    }

    /// Events that have a payload, deliveries, and attempts.
    fn rows(&self) -> [i64; 3] {
        ["event WHERE payload IS NOT NULL", "delivery", "attempt"].map(|rows| self.count(rows))
    }

    /// Counts rows of a table, or deliveries wherever they are.
    fn count(&self, rows: &str) -> i64 {
        let statement = match rows {
            "delivery" => "SELECT count(*) FROM (SELECT key FROM nahook_delivery UNION ALL SELECT key FROM nahook_fresh)".to_owned(),
            _ => format!("SELECT count(*) FROM nahook_{rows}"),
        };
        let counted = self.place.raw().query_row(&statement, [], |row| row.get(0));
        counted.unwrap()
    }

    /// Waits until it is so, and a little longer, so that what must stay could go.
    async fn becomes(&self, expected: [i64; 3]) {
        for _ in 0..2_000 {
            if self.rows() == expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(self.rows(), expected);
    }

    /// Waits until so many such rows are left.
    async fn has(&self, rows: &str, count: i64) {
        for _ in 0..2_000 {
            if self.count(rows) == count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.count(rows), count, "{rows}");
    }

    async fn is_there(&self, id: DeliveryId) -> bool {
        let workspace = workspace_id(WORKSPACE);
        let record = self.store.delivery(id, &workspace).await.unwrap();
        let attempts = self.store.attempts(id, &workspace).await.unwrap();
        assert_eq!(record.is_some(), attempts.is_some());
        record.is_some()
    }
}

#[tokio::test]
async fn what_is_settled_goes_after_seven_days() {
    let shop = Shop::with_endpoints(2).await;
    let old = shop.publish(1, 2).await;
    shop.settle_all(Next::Delivered).await;
    shop.clock.advance(DAY);
    let waiting = shop.publish(2, 1).await;
    shop.clock.advance(DAY);
    let young = shop.publish(3, 1).await;
    shop.becomes([3, 4, 2]).await;

    shop.clock.advance(5 * DAY);
    // Seven days to the nanosecond: not yet.
    shop.becomes([3, 4, 2]).await;
    shop.clock.advance(Duration::from_nanos(1));
    shop.becomes([2, 2, 0]).await;
    for id in old {
        assert!(!shop.is_there(id).await);
    }
    // What waits stays, however old it is.
    shop.clock.advance(30 * DAY);
    shop.becomes([2, 2, 0]).await;
    assert!(shop.is_there(waiting[0]).await && shop.is_there(young[0]).await);

    shop.settle_all(Next::Failed).await;
    shop.becomes([0, 0, 0]).await;
    let workspace = workspace_id(WORKSPACE);
    let redelivered = shop.store.redeliver(young[0], &workspace).await.unwrap();
    assert_eq!(redelivered, Redelivered::NotFound);
}

#[tokio::test]
async fn a_number_is_never_given_twice() {
    let shop = Shop::with_endpoints(1).await;
    for number in 0..3 {
        shop.publish(number, 1).await;
        shop.settle_all(Next::Delivered).await;
        shop.clock.advance(8 * DAY);
        shop.becomes([0, 0, 0]).await;
        // Its number alone.
        shop.has("event", 1).await;
    }
    // The worker's memory of earlier events is of no consequence: the payload is the event's own.
    shop.publish(7, 1).await;
    let leased = shop.store.lease(&request(10)).await.unwrap().deliveries;
    let payloads: Vec<_> = leased
        .iter()
        .map(|it| it.payload.as_bytes().clone())
        .collect();
    assert_eq!(payloads, [r#"{"number":7}"#]);
    shop.has("event", 1).await;
    let highest: i64 = shop
        .place
        .raw()
        .query_row("SELECT max(seq) FROM nahook_event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(highest, 4);
}

#[tokio::test]
async fn a_wide_event_goes_in_steps_and_pages_go_on() {
    let shop = Shop::with_endpoints(1_000).await;
    shop.publish(1, 1_000).await;
    shop.settle_all(Next::Delivered).await;
    shop.clock.advance(4 * DAY);
    let kept = shop.publish(2, 1_000).await;
    shop.becomes([2, 2_000, 1_000]).await;
    let before = shop.store.writer_stats().jobs;
    shop.clock.advance(4 * DAY);
    shop.becomes([1, 1_000, 0]).await;
    assert_eq!(
        shop.store.writer_stats().jobs - before,
        5,
        "200 deliveries a step"
    );
    let query = DeliveryQuery {
        workspace: workspace_id(WORKSPACE),
        endpoint: nth_endpoint_id(0),
        status: None,
        since: None,
        before: None,
        limit: 10,
    };
    let page = shop.store.deliveries(&query).await.unwrap();
    assert_eq!(page.iter().map(|it| it.id).collect::<Vec<_>>(), [kept[0]]);
}

/// Their ids say nothing of the time, so that they sort behind all others.
#[tokio::test]
async fn what_was_brought_along_goes_when_it_is_old() {
    let shop = Shop::with_endpoints(1).await;
    let entry = |id: String| {
        let delivery: DeliveryId = id.parse().unwrap();
        let mut event = event(WORKSPACE, EVENT_TYPE, 1, shop.clock.now());
        event.id = delivery.message_if_first();
        LogEntry {
            event: Arc::new(event),
            delivery,
            endpoint: nth_endpoint_id(0),
            attempts: 0,
            attempt: None,
            state: DeliveryState::Delivered,
            at: shop.clock.now(),
        }
    };
    // More than one query looks at, all of the same instant.
    let old: Vec<_> = (0..600)
        .map(|number| entry(format!("del_old_{number:04}")))
        .collect();
    shop.store.record(&old).await.unwrap();
    shop.clock.advance(7 * DAY + Duration::from_hours(1));
    let young = [entry("del_0".to_owned())];
    shop.store.record(&young).await.unwrap();
    shop.becomes([1, 1, 0]).await;
    assert!(shop.is_there(young[0].delivery).await, "the young one");
}

#[tokio::test]
async fn audit_entries_and_portal_sessions_go_when_their_time_has_come() {
    let shop = Shop::with_endpoints(1).await;
    let management = Management::new(shop.store.clone()).with_clock(shop.clock.clone());
    let (workspace, actor) = (workspace_id(WORKSPACE), Actor::operator());
    let new = NewApplication {
        name: "one".to_owned(),
        external_id: None,
        metadata: BTreeMap::new(),
        max_endpoints: None,
        show_event_types: false,
    };
    let application = management.create_application(&workspace, &actor, new).await;
    let application = application.unwrap().id;
    let session = NewPortalSession::default;
    for _ in 0..2 {
        let made = management.create_portal_session(&workspace, &actor, application, session());
        made.await.unwrap();
        shop.clock.advance(Duration::from_mins(45));
    }
    // The second lasts an hour, too.
    shop.has("portal_session", 1).await;
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let log = || shop.store.audit_log(&workspace, &query);
    shop.clock
        .advance(Duration::from_hours(90 * 24) - Duration::from_mins(45));
    shop.has("audit_entry", 1).await;
    let left = log().await.unwrap();
    let actions: Vec<_> = left.entries.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions, ["portal_session.created"], "the younger of two");
}

#[tokio::test]
async fn nothing_goes_where_nobody_looks() {
    let shop = Shop::opened_with(1, |settings| {
        settings.retention_interval = Duration::ZERO;
    })
    .await;
    shop.publish(1, 1).await;
    shop.settle_all(Next::Delivered).await;
    let mut settings = SqliteSettings::tool().with_clock(shop.clock.clone());
    settings.retention_interval = Duration::from_millis(1);
    let tool = SqliteStore::open(shop.place.file(), settings).unwrap();
    shop.clock.advance(100 * DAY);
    shop.becomes([1, 1, 1]).await;
    drop(tool);
}

#[tokio::test]
async fn audience_goes_once_it_is_in_nobodys_use_and_is_written_again() {
    let shop = Shop::with_endpoints(3).await;
    // Two are idle, and of one something waits.
    shop.publish(1, 1).await;
    shop.publish(2, 2).await;
    shop.settle_all(Next::Delivered).await;
    shop.publish(3, 3).await;
    // A look may be late, so time goes on until they have gone.
    while shop.count("audience") > 1 {
        shop.clock.advance(HOUR);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((shop.count("member"), shop.count("fresh")), (3, 3));
    shop.publish(4, 2).await;
    shop.settle_all(Next::Delivered).await;
    assert_eq!((shop.count("queued"), shop.count("fresh")), (0, 0));
}
