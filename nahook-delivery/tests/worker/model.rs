//! Whatever endpoints answer, and whatever the queue does meanwhile, each delivery ends as the answers say.

use std::time::Duration;

use nahook_delivery::{TransportError, WorkerSettings};
use nahook_queue::DeliveryStatus;
use proptest::prelude::*;
use tokio::time::sleep;

use crate::faulty::{Fault, Faulty};
use crate::support::{Act, Rig};

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Answer(500)),
        1 => Just(Act::Answer(302)),
        1 => Just(Act::Break(TransportError::Closed)),
        1 => Just(Act::Hang),
        1 => Just(Act::Panic),
        1 => (0_u64..20).prop_map(|secs| Act::AnswerAfter(Duration::from_secs(secs), 503)),
        2 => (0_u64..20).prop_map(|secs| Act::AnswerAfter(Duration::from_secs(secs), 204)),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        10 => Just(Fault::None),
        1 => Just(Fault::Internal),
        1 => Just(Fault::Unavailable),
        1 => Just(Fault::TakeAndFail),
        1 => Just(Fault::Panic),
    ]
}

/// Each endpoint gets one delivery, so its nth request is the delivery's nth attempt.
#[derive(Clone, Debug)]
struct Plan {
    /// For each endpoint, its answers in turn; the last one is repeated.
    endpoints: Vec<Vec<Act>>,
    settle_faults: Vec<Fault>,
    extend_faults: Vec<Fault>,
    workers: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let answers = prop::collection::vec(act(), 1..12);
    (
        prop::collection::vec(answers, 1..12),
        prop::collection::vec(fault(), 0..40),
        prop::collection::vec(fault(), 0..40),
        1_usize..=3,
    )
        .prop_map(|(endpoints, settle_faults, extend_faults, workers)| Plan {
            endpoints,
            settle_faults,
            extend_faults,
            workers,
        })
}

fn accepts(act: Act) -> bool {
    matches!(act, Act::Answer(200..300) | Act::AnswerAfter(_, 200..300))
}

/// Returns the expected number of attempts and the expected end of the delivery.
fn expected(answers: &[Act]) -> (usize, DeliveryStatus) {
    let nth = |nth: usize| answers[nth.min(answers.len() - 1)];
    match (0..10).find(|number| accepts(nth(*number))) {
        Some(number) => (number + 1, DeliveryStatus::Delivered),
        None => (10, DeliveryStatus::DeadLetter),
    }
}

async fn check(plan: Plan) {
    let names: Vec<_> = (0..plan.endpoints.len())
        .map(|nth| format!("ep_{nth}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let rig = Rig::new(&names).await;
    for (name, answers) in names.iter().zip(plan.endpoints.clone()) {
        rig.script(name, move |nth| answers[nth.min(answers.len() - 1)]);
    }
    let (mut settle, mut extend) = (
        plan.settle_faults.into_iter(),
        plan.extend_faults.into_iter(),
    );
    let queue = Faulty::new(&rig.store)
        .settle(move |_| settle.next().unwrap_or(Fault::None))
        .extend(move |_| extend.next().unwrap_or(Fault::None));
    let settings = WorkerSettings {
        lease_duration: Duration::from_secs(30),
        // Days of polling every half minute are what would take the time here.
        poll_interval: Duration::from_hours(1),
        ..WorkerSettings::default()
    };
    let workers: Vec<_> = (0..plan.workers)
        .map(|_| rig.start_over(queue.clone(), rig.store.clone(), settings.clone()))
        .collect();
    let ids = rig.publish(&names).await;
    // The schedule takes 75.6 h and a tenth at most, and the last attempt a few seconds.
    sleep(Duration::from_hours(90)).await;
    for ((id, name), answers) in ids.iter().zip(&names).zip(&plan.endpoints) {
        let (attempts, status) = expected(answers);
        assert_eq!(rig.status(*id).await, status, "{name}");
        let arrivals = rig.arrivals_at(name);
        let numbers: Vec<_> = arrivals
            .iter()
            .map(|a| a.header("nahook-attempt").to_owned())
            .collect();
        let counted: Vec<_> = (1..=attempts).map(|number| number.to_string()).collect();
        assert_eq!(numbers, counted, "{name}");
        assert_eq!(rig.attempts(*id).await.len(), attempts, "{name}");
    }
    assert_eq!(rig.overlaps(), 0);
    for worker in workers {
        let report = worker.stop().await;
        assert_eq!(report.unsettled, 0);
    }
}

/// 48 cases, or as many as `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 48;
    }
    config
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn every_delivery_ends_as_the_answers_say_and_no_attempt_is_made_twice(plan in plan()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(check(plan));
    }
}
