//! Back ends that are down, silent or slow.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Method;
use nahook_control::{
    AuditPage, AuditQuery, Change, ChangePlan, EndpointPage, EndpointQuery, ManagementError,
    ManagementStore, Select, Snapshot,
};
use nahook_core::id::{DeliveryId, WorkspaceId};
use nahook_core::{Payload, StoreError};
use nahook_queue::{
    AttemptRecord, DeliveryLog, DeliveryQuery, DeliveryRecord, DeliverySearch, DeliveryStats,
    DeliveryStatus, Redelivered, Redelivery, RedeliveryRequest, StatsQuery,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

use crate::ingestion::support::Fault;
use crate::management::support::{Bench, SHOP, TOKEN, request};

/// A store that never answers some of its calls.
struct Silent {
    store: Arc<dyn ManagementStore>,
    never_answers: fn(&[Select]) -> bool,
    begun: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl ManagementStore for Silent {
    async fn read(&self, of: &WorkspaceId, selection: &[Select]) -> Result<Snapshot, StoreError> {
        if (self.never_answers)(selection) {
            self.begun.fetch_add(1, Ordering::SeqCst);
            pending::<()>().await;
        }
        self.store.read(of, selection).await
    }

    async fn change(
        &self,
        _: &WorkspaceId,
        _: &Arc<dyn ChangePlan>,
    ) -> Result<Vec<Change>, ManagementError> {
        pending().await
    }

    async fn audit_log(
        &self,
        of: &WorkspaceId,
        query: &AuditQuery,
    ) -> Result<AuditPage, StoreError> {
        self.store.audit_log(of, query).await
    }

    async fn find_endpoints(
        &self,
        of: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        self.store.find_endpoints(of, query).await
    }
}

/// A bench over a store that is silent when it is asked for what `never_answers` says, and the number of those calls.
async fn silent(never_answers: fn(&[Select]) -> bool) -> (Bench, Arc<AtomicUsize>) {
    let begun = Arc::<AtomicUsize>::default();
    let bench = Bench::with(|ports| {
        ports.store = Arc::new(Silent {
            store: Arc::clone(&ports.store),
            never_answers,
            begun: Arc::clone(&begun),
        });
    });
    (bench.await, begun)
}

#[tokio::test]
async fn key_store_that_is_down_is_503() {
    let bench = Bench::with(|ports| ports.keys = Arc::new(Fault::Down)).await;
    let message = bench.get("/endpoints").await.error(503, "unavailable");
    assert_eq!(message, "The key store is unavailable");
}

#[tokio::test(start_paused = true)]
async fn silence_is_503_at_the_deadline_and_says_if_a_change_may_have_been_made() {
    let silent_keys = Bench::with(|ports| ports.keys = Arc::new(Fault::Silence)).await;
    let (silent_read, _) = silent(|of| of == [Select::Endpoints]).await;
    let (silent_actor, _) = silent(|of| matches!(of, [Select::ManagementToken(_)])).await;
    let (silent_change, _) = silent(|_| false).await;
    for (bench, method, may_be_made) in [
        (&silent_keys, Method::POST, false),
        (&silent_read, Method::GET, false),
        (&silent_actor, Method::POST, false),
        (&silent_change, Method::POST, true),
    ] {
        let begun = Instant::now();
        let new = json!({"url": "https://a.example/"}).to_string();
        let answer = bench.ask(method, &format!("{SHOP}/endpoints"), new).await;
        let message = answer.error(503, "unavailable");
        assert_eq!(begun.elapsed(), Duration::from_secs(10), "{message}");
        assert!(
            message.starts_with("The store did not answer in time"),
            "{message}"
        );
        assert_eq!(
            message.contains("may have been made"),
            may_be_made,
            "{message}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_list_of_a_workspace_is_read_at_once_and_further_ones_wait() {
    let (bench, begun) = silent(|of| of == [Select::Endpoints]).await;
    let searching = Arc::<AtomicUsize>::default();
    let search = Searching(Arc::clone(&searching));
    let pages = Bench::with(|ports| ports.search = Arc::new(search)).await;
    let mut asking = JoinSet::new();
    for _ in 0..6 {
        for (bench, path) in [
            (&bench, "/endpoints"),
            (&pages, "/endpoints/ep_1/deliveries"),
        ] {
            let asked = request(Method::GET, &format!("{SHOP}{path}"), TOKEN, "");
            asking.spawn(bench.router.clone().oneshot(asked));
        }
    }
    // The clock goes on only when nothing else can.
    sleep(Duration::from_secs(1)).await;
    let begun = [begun, searching].map(|calls| calls.load(Ordering::SeqCst));
    assert_eq!(begun, [1, 1]);
}

/// Never finds anything.
struct Searching(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl DeliverySearch for Searching {
    async fn stored_len(&self, _: &WorkspaceId) -> Result<u64, StoreError> {
        pending().await
    }

    async fn deliveries(&self, _: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        pending().await
    }

    async fn stats(&self, _: &StatsQuery) -> Result<DeliveryStats, StoreError> {
        pending().await
    }
}

/// Queues 500 deliveries again in each step, which takes a second; fails after so many.
struct Redelivering {
    steps: AtomicUsize,
    fails_after: usize,
}

#[async_trait::async_trait]
impl Redelivery for Redelivering {
    async fn redeliver(&self, _: DeliveryId, _: &WorkspaceId) -> Result<Redelivered, StoreError> {
        Ok(Redelivered::NotGivenUp(DeliveryStatus::Failed))
    }

    async fn redeliver_since(&self, request: &RedeliveryRequest) -> Result<usize, StoreError> {
        sleep(Duration::from_secs(1)).await;
        if self.steps.fetch_add(1, Ordering::SeqCst) == self.fails_after {
            return Err(StoreError::unavailable("planted"));
        }
        Ok(request.limit)
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_were_queued_again_are_noted_also_if_a_later_step_fails_or_time_is_up() {
    for (fails_after, status, count) in [(2, 503, 1_000), (usize::MAX, 200, 2_500)] {
        let steps = AtomicUsize::new(0);
        let redelivery = Redelivering { steps, fails_after };
        let bench = Bench::with(|ports| ports.redelivery = Arc::new(redelivery)).await;
        let path = "/endpoints/ep_1/deliveries/retry";
        let answer = bench.post(path, &json!({"since": "2026-11-26"})).await;
        if answer.json(status)["error"].is_null() {
            let told = json!({"retried": count, "complete": false});
            assert_eq!(answer.json(200), told);
        }
        let path = "/audit-logs?action=endpoint.deliveries_retried";
        let noted = bench.get(path).await.json(200);
        assert_eq!(noted["data"][0]["metadata"]["count"], count.to_string());
    }
}

#[tokio::test]
async fn failed_delivery_without_its_payload_is_not_attempted_again() {
    let redelivery = Redelivering {
        steps: AtomicUsize::new(0),
        fails_after: 0,
    };
    let bench = Bench::with(|ports| ports.redelivery = Arc::new(redelivery)).await;
    let path = "/deliveries/del_1/retry";
    let said = bench.post(path, &json!({})).await.error(409, "conflict");
    assert_eq!(said, "The delivery's payload is not kept any more");
}

/// A log whose payloads cannot be read, of deliveries that keep one or not.
struct Unreadable {
    log: Arc<dyn DeliveryLog>,
    has_payload: bool,
}

#[async_trait::async_trait]
impl DeliveryLog for Unreadable {
    async fn delivery(
        &self,
        id: DeliveryId,
        of: &WorkspaceId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        let mut found = self.log.delivery(id, of).await?;
        if let Some(row) = &mut found {
            row.has_payload = self.has_payload;
        }
        Ok(found)
    }

    async fn attempts(
        &self,
        id: DeliveryId,
        of: &WorkspaceId,
    ) -> Result<Option<Vec<AttemptRecord>>, StoreError> {
        self.log.attempts(id, of).await
    }

    async fn payload(&self, _: DeliveryId, _: &WorkspaceId) -> Result<Option<Payload>, StoreError> {
        Err(StoreError::unavailable("planted"))
    }
}

#[tokio::test]
async fn payload_that_cannot_be_read_is_told_from_one_that_is_not_kept() {
    for (has_payload, status) in [(true, "error"), (false, "not_found")] {
        let bench = Bench::with(|ports| {
            let log = Arc::clone(&ports.log);
            ports.log = Arc::new(Unreadable { log, has_payload });
        });
        let bench = bench.await;
        let id = bench.trigger().await;
        let path = format!("/deliveries/{id}?include=payload");
        let shown = bench.get(&path).await.json(200);
        assert_eq!(shown["payload"], json!({"status": status}));
    }
}
