//! A delivery that is given up says why.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{EndpointDirectory, EndpointTarget, HealthReport, HealthState};
use nahook_core::StoreError;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_delivery::{RetrySchedule, WorkerSettings};
use nahook_queue::DeliveryStatus;
use tokio::time::sleep;

use crate::support::{Act, Rig};

/// Returns the texts of the delivery's attempts, the oldest first.
async fn told(rig: &Rig, id: DeliveryId) -> Vec<String> {
    let attempts = rig.attempts(id).await;
    let record = rig.record(id).await;
    assert_eq!(record.attempts as usize, attempts.len());
    for (number, attempt) in (1..).zip(&attempts) {
        assert_eq!(attempt.number, number);
    }
    let errors = attempts.into_iter().map(|record| record.attempt.error);
    errors.map(Option::unwrap_or_default).collect()
}

#[tokio::test(start_paused = true)]
async fn delivery_to_a_disabled_endpoint_says_so() {
    let rig = Rig::new(&["ep_a"]).await;
    let endpoint = EndpointId::new("ep_a").unwrap();
    let state = HealthState::Disable;
    let reports = [HealthReport { endpoint, state }];
    rig.store.report(&reports).await.unwrap();
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Failed).await;
    worker.stop().await;
    let reason = "not attempted: the endpoint is disabled";
    assert_eq!(told(&rig, ids[0]).await, [reason]);
    let attempt = &rig.attempts(ids[0]).await[0].attempt;
    assert_eq!(
        (attempt.status_code, attempt.duration),
        (None, Duration::ZERO)
    );
    assert!(!attempt.was_made());
    assert_eq!(rig.arrivals().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn retry_behind_a_410_says_that_the_endpoint_is_disabled() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.script("ep_a", |nth| Act::Answer(if nth == 0 { 500 } else { 410 }));
    let worker = rig.start(WorkerSettings::default());
    let first = rig.publish(&["ep_a"]).await;
    rig.until(&first, DeliveryStatus::ScheduledRetry).await;
    let second = rig.publish(&["ep_a"]).await;
    rig.until(&second, DeliveryStatus::Failed).await;
    rig.until(&first, DeliveryStatus::Failed).await;
    worker.stop().await;
    let gone = "the endpoint answered 410 Gone and was disabled";
    assert_eq!(told(&rig, second[0]).await, [gone]);
    let failed = "the endpoint answered with status 500";
    let disabled = "not attempted: the endpoint is disabled";
    assert_eq!(told(&rig, first[0]).await, [failed, disabled]);
}

/// Knows no endpoint.
struct Empty;

#[async_trait::async_trait]
impl EndpointDirectory for Empty {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        Ok(vec![None; ids.len()])
    }

    async fn report(&self, _: &[HealthReport]) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn delivery_to_a_deleted_endpoint_says_so() {
    let rig = Rig::new(&["ep_a"]).await;
    let ids = rig.publish(&["ep_a"]).await;
    let worker = rig.start_over(rig.store.clone(), Empty, WorkerSettings::default());
    rig.until(&ids, DeliveryStatus::Failed).await;
    worker.stop().await;
    let reason = "not attempted: the endpoint was deleted";
    assert_eq!(told(&rig, ids[0]).await, [reason]);
    assert!(!rig.attempts(ids[0]).await[0].attempt.was_made());
}

#[tokio::test(start_paused = true)]
async fn last_attempt_of_the_schedule_says_that_it_was_the_last() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::Answer(500));
    let schedule = RetrySchedule {
        waits: vec![Duration::from_secs(5)],
        ..RetrySchedule::default()
    };
    let settings = WorkerSettings {
        schedule,
        ..WorkerSettings::default()
    };
    let worker = rig.start(settings);
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::DeadLetter).await;
    worker.stop().await;
    let failed = "the endpoint answered with status 500";
    let last = "the endpoint answered with status 500; it was the last attempt";
    assert_eq!(told(&rig, ids[0]).await, [failed, last]);
}

#[tokio::test(start_paused = true)]
async fn attempt_that_disables_an_endpoint_says_so() {
    let rig = Rig::new(&["ep_a"]).await;
    rig.always("ep_a", Act::Answer(500));
    let settings = WorkerSettings {
        disable_after: Duration::from_mins(1),
        ..WorkerSettings::default()
    };
    let worker = rig.start(settings);
    let ids = rig.publish(&["ep_a"]).await;
    sleep(Duration::from_mins(6)).await;
    worker.stop().await;
    let told = told(&rig, ids[0]).await;
    let disabling = "the endpoint answered with status 500; the endpoint was disabled: it has failed for too long";
    assert_eq!(told.last().map(String::as_str), Some(disabling));
    assert!(!rig.target("ep_a").await.is_active);
}
