//! The store, used once for each thing that it does often.

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_control::{
    Actor, AuditQuery, EndpointDirectory, HealthReport, HealthState, KeyHash, KeyStore, Management,
};
use nahook_core::admission::{Caller, Plan, Rate};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, IdempotencyKey, NewEvent, Outcome, RateLimiter,
    SubscriptionStore, SystemClock, Timestamp,
};
use nahook_postgres::PostgresStore;
use nahook_queue::{
    Attempt, Counts, CountsQuery, DeliveryCounts, DeliveryLog, DeliveryQuery, DeliveryQueue,
    DeliverySearch, DeliveryStats, DeliveryStatus, EventQuery, EventSearch, Lease, LeaseRequest,
    LeaseToken, LeasedDelivery, Next, Period, Redelivery, RedeliveryRequest, RollUp, Settlement,
    StatsQuery,
};
use nahook_testkit::declare::{
    caller, deliveries, endpoint_id, event, event_type_name, metadata, payload, scope, workspace_id,
};
use nahook_testserver::PostgresServer;
use tokio_postgres::Client;

use super::explained::Explained;
use super::tables::{KEY, WIDTHS, event_type};
use crate::support::{client, connect, count, request, settings, spread, until};

/// One thing that the store does.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) title: String,
    pub(crate) explained: Vec<Explained>,
    /// Upper bound on the blocks touched by all of its statements: the rows asked for, and nothing that grows with the
    /// tables but the height of an index.
    pub(crate) blocks_max: u64,
    /// Upper bound on the rows read by any one scan.
    pub(crate) rows_max: u64,
}

struct Tour<'a> {
    server: &'a PostgresServer,
    stops: Vec<Stop>,
}

impl Tour<'_> {
    /// Notes what the server has explained meanwhile. So many rows are asked for or written, each of which may cost so many
    /// blocks; and a few to begin with.
    async fn stop<T>(
        &mut self,
        title: impl Into<String>,
        (rows, blocks): (usize, usize),
        use_it: impl Future<Output = T>,
    ) -> T {
        let before = self.server.log().len();
        let answer = use_it.await;
        // The connection that listens has nothing to explain but its sign of life.
        let ours = |explained: &Explained| explained.query() != "SELECT 1";
        let explained = Explained::all(&self.server.log()[before..]);
        self.stops.push(Stop {
            title: title.into(),
            explained: explained.into_iter().filter(ours).collect(),
            blocks_max: u64::try_from(30 + rows * blocks).unwrap(),
            // Reading all of the hundred workspaces may be cheaper than looking some of them up.
            rows_max: u64::try_from(150 + 6 * rows).unwrap(),
        });
        answer
    }
}

/// Uses the store on the database at `url`, whose tables are full.
pub(crate) async fn take(server: &PostgresServer, url: &str) -> Vec<Stop> {
    let name = "SELECT current_database()";
    let name = server.query(url, name);
    // From here on whoever connects is explained.
    let explain = format!("ALTER DATABASE {name} SET auto_explain.log_min_duration = 0");
    server.query(url, &explain);
    let mut asking = settings(1);
    asking.cache_len_max = 0;
    asking.retention_interval = Duration::ZERO;
    let store = connect(url, asking).await;
    let mut tour = Tour {
        server,
        stops: Vec::new(),
    };
    let other = connect(url, settings(1)).await;
    // One that has no records in hand.
    let of_rows = connect(url, settings(1)).await;
    let mut client = client(url).await;
    // Once without being looked at: a connection's first use of anything is like no other.
    for round in 0..2 {
        tour.stops.clear();
        look_ups(&mut tour, &store).await;
        publishing(&mut tour, &store, round).await;
        records(&mut tour, &store).await;
        // What is left of them waits as rows, for whoever looks for any. What is in hand becomes some by itself, soon, and not within a stop.
        until("nothing is in hand", || async {
            count(&client, "record WHERE owner <> 0").await == 0
        })
        .await;
        spread(url).await;
        let lease = Lease {
            delivery: order(0, 1).1[0].id(),
            token: LeaseToken(0),
        };
        of_rows.settle(&settlements(&[lease])).await.unwrap();
        queue(&mut tour, &of_rows, &other).await;
        transactions(&mut tour, &store, &mut client).await;
        lists(&mut tour, &store).await;
        management(&mut tour, &store, round).await;
    }
    other.close().await.unwrap();
    of_rows.close().await.unwrap();
    store.close().await.unwrap();
    retention(&mut tour, url).await;
    tour.stops
}

async fn look_ups(tour: &mut Tour<'_>, store: &PostgresStore) {
    let scope = scope("ws_shop", None);
    for width in WIDTHS {
        let name = event_type_name(&event_type(width));
        let title = format!("Who is subscribed: {width}");
        let look_up = store.subscribers(&name, &scope);
        let found = tour.stop(title, (width, 4), look_up).await;
        assert_eq!(found.unwrap().unwrap().endpoints.len(), width);
    }
    let hash = KeyHash::of(KEY);
    let key = store.api_key(&hash);
    let found = tour.stop("Whose key it is", (1, 8), key).await;
    assert!(found.unwrap().is_some());
}

async fn publishing(tour: &mut Tour<'_>, store: &PostgresStore, round: u64) {
    for (number, width) in (1..).zip(WIDTHS) {
        let (event, mut slots) = order(round * 10 + number, width);
        let title = format!("Publishing to {width}");
        let publishing = store.publish(&event, &mut slots);
        tour.stop(title, (width, 12), publishing).await;
        assert!(
            slots
                .iter()
                .all(|slot| slot.outcome() == Outcome::Published)
        );
    }
    // The first one goes by itself, and while it does the others wait for each other.
    let mut orders: Vec<_> = (5..9).map(|n| order(round * 10 + n, WIDTHS[2])).collect();
    let publishing = orders
        .iter_mut()
        .map(|(event, slots)| store.publish(event, slots));
    let publishing = futures_util::future::join_all(publishing);
    let title = "Publishing several events to the same 100";
    tour.stop(title, (4 * WIDTHS[2], 12), publishing).await;
    let stop = tour.stops.last_mut().unwrap();
    let is_shared = |explained: &Explained| explained.query().contains("INSERT INTO record");
    stop.explained.retain(is_shared);
    assert!(!stop.explained.is_empty(), "they shared a statement");
    let mut slots = orders.iter().flat_map(|(_, slots)| slots);
    assert!(slots.all(|slot| slot.outcome() == Outcome::Published));
    let caller = limited(round);
    let limiter = store.limiter();
    let checked = tour
        .stop(
            "Leasing tokens of a rate limit",
            (1, 15),
            limiter.check(&caller),
        )
        .await;
    checked.unwrap();
}

async fn records(tour: &mut Tour<'_>, store: &PostgresStore) {
    let hundred = request(100);
    let lease = store.lease(&hundred);
    let title = "Taking records, and leasing 100 of their deliveries";
    let batch = tour.stop(title, (2_000, 12), lease).await;
    let leases = leases_of(&batch.unwrap().deliveries);
    assert_eq!(leases.len(), 100);
    // Rows may be among them.
    let settled = settlements(&leases);
    let settle = store.settle(&settled);
    let title = "Settling 100 deliveries, most of them of records";
    tour.stop(title, (100, 48), settle).await.unwrap();
}

async fn queue(tour: &mut Tour<'_>, store: &PostgresStore, other: &PostgresStore) {
    let worker = LeaseRequest {
        per_endpoint_max: 4,
        ..request(100)
    };
    let lease = store.lease(&worker);
    let batch = tour.stop("Leasing 100 deliveries", (100, 65), lease).await;
    let deliveries = batch.unwrap().deliveries;
    assert_eq!(deliveries.len(), 100);
    let leases = leases_of(&deliveries);
    let mut endpoints: Vec<_> = deliveries.iter().map(|leased| leased.endpoint).collect();
    endpoints.dedup();
    let targets = store.targets(&endpoints);
    let title = format!("Where to deliver: {} endpoints", endpoints.len());
    let targets = tour.stop(title, (endpoints.len(), 4), targets).await;
    assert!(targets.unwrap().iter().all(Option::is_some));
    let extend = store.extend(&leases, Duration::from_mins(2));
    let extended = tour.stop("Extending 100 leases", (100, 24), extend).await;
    assert!(extended.unwrap().into_iter().all(|is_held| is_held));
    let (ours, others) = (settlements(&leases[..50]), settlements(&leases[50..]));
    let settle = store.settle(&ours);
    tour.stop("Settling 50 deliveries", (50, 44), settle)
        .await
        .unwrap();
    let settle = other.settle(&others);
    let title = "Settling 50 deliveries that another process has leased";
    tour.stop(title, (50, 48), settle).await.unwrap();
    for state in [
        HealthState::FailingSince(SystemClock.now()),
        HealthState::Healthy,
    ] {
        let report = |endpoint: &nahook_core::id::EndpointId| HealthReport {
            endpoint: *endpoint,
            state,
        };
        let reports: Vec<_> = endpoints.iter().take(10).map(report).collect();
        let title = match state {
            HealthState::Healthy => "Noting that 10 endpoints do well",
            _ => "Noting that 10 endpoints fail",
        };
        tour.stop(title, (10, 9), store.report(&reports))
            .await
            .unwrap();
    }
    let (id, workspace) = (leases[0].delivery, deliveries[0].workspace);
    let delivery = store.delivery(id, &workspace);
    let found = tour
        .stop("What became of a delivery", (1, 1), delivery)
        .await;
    assert!(found.unwrap().is_some());
    let attempts = store.attempts(id, &workspace);
    let found = tour
        .stop("The attempts of a delivery", (1, 1), attempts)
        .await;
    assert!(found.unwrap().is_some());
}

async fn transactions(tour: &mut Tour<'_>, store: &PostgresStore, client: &mut Client) {
    let event = NewEvent {
        event_type: event_type_name(&event_type(10)),
        payload: payload("{}"),
        metadata: metadata(&[]),
    };
    let caller = caller("ws_shop", "key_shop");
    let mut transaction = client.transaction().await.unwrap();
    let trigger = store.trigger_in(&mut transaction, &event, caller.scope());
    let title = "A trigger to 10 in the caller's transaction";
    let receipt = tour.stop(title, (10, 40), trigger).await.unwrap();
    assert_eq!(receipt.delivery_ids().count(), 10);
    transaction.commit().await.unwrap();
    let sql = "SELECT * FROM nahook.trigger('ws_shop', 'order.to10', '{\"order\": \"book\"}')";
    let title = "A trigger to 10 in plain SQL";
    let rows = tour.stop(title, (10, 60), client.query(sql, &[])).await;
    assert_eq!(rows.unwrap().len(), 10);
}

/// An endpoint of another workspace, and its deliveries: by how they stand, and what is queued again of them.
async fn lists(tour: &mut Tour<'_>, store: &PostgresStore) {
    let all = DeliveryQuery {
        workspace: workspace_id("ws_1"),
        endpoint: endpoint_id("ep_2_1"),
        status: None,
        since: None,
        before: None,
        limit: 10,
    };
    let page = tour
        .stop(
            "Ten deliveries of an endpoint",
            (60, 12),
            store.deliveries(&all),
        )
        .await
        .unwrap();
    assert_eq!(page.len(), 10);
    let next = DeliveryQuery {
        before: page.last().map(|record| record.id),
        since: Some(nahook_core::Timestamp::from_millis(1)),
        ..all.clone()
    };
    let title = "The next ten, of those accepted since a moment";
    let page = tour.stop(title, (60, 16), store.deliveries(&next)).await;
    assert_eq!(page.unwrap().len(), 10);
    for (status, name) in [
        (DeliveryStatus::Delivered, "delivered"),
        (DeliveryStatus::Delivering, "being attempted"),
        (DeliveryStatus::Pending, "pending"),
    ] {
        let query = DeliveryQuery {
            status: Some(status),
            ..all.clone()
        };
        let title = format!("Deliveries of an endpoint that are {name}");
        let page = tour.stop(title, (20, 12), store.deliveries(&query)).await;
        assert!(page.unwrap().iter().all(|record| record.status == status));
    }
    let mut counted = StatsQuery {
        workspace: all.workspace,
        endpoint: Some(all.endpoint),
        count_max: 10,
        is_unsettled_only: false,
    };
    let title = "An endpoint's deliveries counted, up to ten of each status";
    let stats = tour.stop(title, (60, 12), store.stats(&counted)).await;
    assert!(total(&stats.unwrap()) >= 10);
    counted.endpoint = None;
    let title = "Those of a workspace with 100 endpoints";
    let stats = tour.stop(title, (160, 24), store.stats(&counted)).await;
    assert!(total(&stats.unwrap()) >= 10);
    // A step for each endpoint that has something due: some thousand.
    let keyed = EventQuery {
        workspace: workspace_id("ws_shop"),
        event_type: None,
        labels: Vec::new(),
        idempotency_key: Some(IdempotencyKey::new("order-1").unwrap()),
        before: None,
        limit: 50,
    };
    let title = "Events that were sent with a key";
    let page = tour.stop(title, (1, 8), store.events(&keyed)).await;
    page.unwrap();
    let hours = (0..200).map(|hour| RollUp {
        workspace: workspace_id("ws_shop"),
        endpoint: (hour % 2 == 0).then(|| endpoint_id("ep_1")),
        period: Period::Hour,
        start: Timestamp::from_millis((500_000 + hour) * 3_600_000),
        counts: Counts::from_numbers(1..),
    });
    let hours: Vec<_> = hours.collect();
    let title = "Adding the counts of 200 hours";
    // Of twenty numbers each.
    let added = tour.stop(title, (4_000, 1), store.add_counts(&hours)).await;
    added.unwrap();
    let counted = CountsQuery {
        workspace: workspace_id("ws_shop"),
        endpoint: Some(endpoint_id("ep_1")),
        period: Period::Hour,
        since: hours[152].start,
    };
    let title = "The counts of 24 hours";
    let counted = tour.stop(title, (24, 4), store.counts(&counted)).await;
    assert_eq!(counted.unwrap().len(), 24);
    let title = "The backlog of all workspaces";
    let backlog = tour.stop(title, (1_000, 6), store.backlog(10)).await;
    assert!(backlog.unwrap().due > 0);
    let again = RedeliveryRequest {
        workspace: all.workspace,
        endpoint: all.endpoint,
        since: nahook_core::Timestamp::from_millis(1),
        limit: 10,
    };
    let title = "Queueing up to ten deliveries again that were given up";
    let queueing = store.redeliver_since(&again);
    tour.stop(title, (20, 30), queueing).await.unwrap();
}

fn total(stats: &DeliveryStats) -> u64 {
    let counts = DeliveryStatus::ALL.map(|status| stats.count(status));
    counts.iter().sum()
}

/// Reading and changing what is in a workspace, and what the audit log tells of it.
async fn management(tour: &mut Tour<'_>, store: &PostgresStore, round: u64) {
    let (workspace, actor) = (workspace_id("ws_1"), Actor::operator());
    let management = Management::new(store.clone());
    let endpoint = endpoint_id("ep_2_1");
    let reading = management.endpoint(&workspace, endpoint);
    tour.stop("An endpoint, read", (1, 20), reading)
        .await
        .unwrap();
    let reading = management.endpoints(&workspace);
    let title = "The 100 endpoints of a workspace, read";
    let rows = tour.stop(title, (100, 8), reading).await.unwrap();
    assert_eq!(rows.len(), 100);
    let reading = management.event_types(&workspace);
    let title = "Ten event types, with how many endpoints are subscribed";
    let rows = tour.stop(title, (1_000, 1), reading).await.unwrap();
    assert!(rows.len() >= 10);
    let reading = management.subscriptions(&workspace, endpoint);
    let title = "The ten subscriptions of an endpoint, read";
    let rows = tour.stop(title, (20, 12), reading).await.unwrap();
    assert_eq!(rows.len(), 10);
    let name = event_type_name(&format!("order.round{round}"));
    let making = management.create_event_type(&workspace, &actor, name, None);
    tour.stop("An event type, made", (1, 80), making)
        .await
        .unwrap();
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let title = "A page of the audit log";
    let page = tour
        .stop(title, (10, 8), management.audit_log(&workspace, &query))
        .await
        .unwrap();
    assert_eq!(page.entries[0].action, "event_type.created");
}

/// Some of what is old and settled is deleted.
async fn retention(tour: &mut Tour<'_>, url: &str) {
    let mut forgetting = settings(1);
    forgetting.retention_interval = Duration::from_millis(100);
    let store = connect(url, forgetting).await;
    let server = tour.server;
    let is_forgetting = async || server.log().contains("DELETE FROM event e");
    let title = "Deleting what is old, up to 500 events with 5000 deliveries";
    let deleting = until("something is deleted", is_forgetting);
    // Each delivery is read to be judged, locked so that nobody queues it again meanwhile, and deleted with its attempts.
    tour.stop(title, (5_500, 12), deleting).await;
    store.close().await.unwrap();
    let stop = tour.stops.last_mut().unwrap();
    let is_deletion = |explained: &Explained| explained.query().contains("DELETE FROM event e");
    stop.explained.retain(is_deletion);
    stop.explained.truncate(1);
}

/// An order that so many endpoints are told of.
fn order(number: u64, width: usize) -> (Event, Vec<Delivery>) {
    let event = event("ws_shop", &event_type(width), number, SystemClock.now());
    let ids: Vec<_> = (0..width)
        .map(|n| endpoint_id(&format!("ep_{n}")))
        .collect();
    let slots = deliveries(&event, &ids);
    (event, slots)
}

fn limited(round: u64) -> Caller {
    let hundred = NonZeroU32::new(100).unwrap();
    let rate = Rate::new(hundred, Duration::from_secs(1), hundred);
    let plan = Plan {
        workspace_rate: rate,
        key_rate: rate,
        ..Plan::default()
    };
    Caller {
        plan,
        // Another one has no tokens yet.
        ..caller(
            &format!("ws_limited{round}"),
            &format!("key_limited{round}"),
        )
    }
}

fn leases_of(deliveries: &[LeasedDelivery]) -> Vec<Lease> {
    deliveries.iter().map(|leased| leased.lease).collect()
}

/// Every other one was delivered, the rest is to be tried again.
fn settlements(leases: &[Lease]) -> Vec<Settlement> {
    let now = SystemClock.now();
    let settlement = |(number, lease): (usize, &Lease)| Settlement {
        lease: *lease,
        attempt: Some(Attempt::answered(now, Duration::from_millis(20), 200)),
        next: if number % 2 == 0 {
            Next::Delivered
        } else {
            Next::Retry(now.saturating_add(Duration::from_secs(5)))
        },
    };
    leases.iter().enumerate().map(settlement).collect()
}
