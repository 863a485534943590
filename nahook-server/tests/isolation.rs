//! Endpoints that hang, fail, break off or drown the sender do not delay the others. In a process of its own, which runs alone:
//! the load of other tests would count as delay.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use self::support::manifest::{EVENT_TYPE, endpoint, shop};
use self::support::receiver::{Receiver, Reply};
use self::support::server::Server;
use self::support::until;

const HEALTHY: usize = 17;
const TRIGGERS: usize = 20;
/// Time in which a healthy one gets its delivery on a busy machine: a third of what an attempt lasts that hangs.
const WITHIN: Duration = Duration::from_secs(5);
/// By how much the server's memory may grow meanwhile, in KiB: far less than what is thrown at it.
const GROWTH_MAX_KIB: u64 = 64 * 1024;
const TEN_GB: u64 = 10_000_000_000;

/// A server with the healthy endpoints and the four others among them.
async fn server(healthy: &Receiver, others: &Receiver) -> Server {
    others.reply("/hangs", [Reply::Hang]);
    others.reply("/fails", [Reply::Status(500)]);
    others.reply("/closes", [Reply::Close]);
    others.reply("/endless", [Reply::Endless(TEN_GB)]);
    let mut endpoints: Vec<_> = ["hangs", "fails", "closes", "endless"]
        .map(|name| endpoint(&format!("ep_{name}"), &others.url(&format!("/{name}"))))
        .into();
    for number in 0..HEALTHY {
        let url = healthy.url(&format!("/{number}"));
        endpoints.insert(number % 5 * 2, endpoint(&format!("ep_{number}"), &url));
    }
    Server::with(&shop(endpoints)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_endpoints_are_served_within_a_second_whatever_the_others_do() {
    let (healthy, others) = (Receiver::start().await, Receiver::start().await);
    let server = server(&healthy, &others).await;
    let api = server.api();
    let memory_before = server.process.memory_kib();
    let mut answered = BTreeMap::new();

    for round in 1..=TRIGGERS {
        let answer = api
            .trigger(EVENT_TYPE, &format!("{{\"round\":{round}}}"))
            .await;
        assert_eq!(answer.delivery_ids().len(), HEALTHY + 4);
        answered.insert(format!("{{\"round\":{round}}}"), answer.at);
        healthy.wait_for(HEALTHY * round).await;
    }

    for arrival in healthy.exactly(HEALTHY * TRIGGERS).await {
        let body = String::from_utf8(arrival.body.to_vec()).unwrap();
        let waited = arrival.at.saturating_duration_since(answered[&body]);
        assert!(
            waited <= WITHIN,
            "{} {body} waited {waited:?}",
            arrival.path
        );
    }
    // A test whose troublemakers were left out would prove nothing.
    for path in ["/hangs", "/fails", "/closes", "/endless"] {
        assert!(
            !others.arrivals_at(path).is_empty(),
            "nothing went to {path}"
        );
    }
    let growth = server
        .process
        .memory_peak_kib()
        .saturating_sub(memory_before);
    assert!(
        growth <= GROWTH_MAX_KIB,
        "the server's memory grew by {growth} KiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_reaches_the_healthy_ones_while_the_others_hold_what_they_can() {
    let (healthy, others) = (Receiver::start().await, Receiver::start().await);
    let server = server(&healthy, &others).await;
    let api = server.api();

    let mut triggering = tokio::task::JoinSet::new();
    for round in 0..2 * TRIGGERS {
        let api = api.clone();
        triggering.spawn(async move {
            api.trigger(EVENT_TYPE, &format!("{{\"round\":{round}}}"))
                .await
        });
    }
    for answer in triggering.join_all().await {
        assert_eq!(answer.delivery_ids().len(), HEALTHY + 4);
    }

    // The hanging ones hold their place for 15 seconds; the healthy ones must not have waited for that.
    let all = HEALTHY * 2 * TRIGGERS;
    until(
        Duration::from_secs(10),
        "the burst reaches the healthy endpoints",
        || (healthy.len() >= all).then_some(()),
    )
    .await;
    healthy.exactly(all).await;
}
