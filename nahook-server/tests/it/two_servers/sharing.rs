//! Triggers, deliveries and changes, seen from either.

use std::collections::HashSet;
use std::time::Duration;

use nahook::NahookClient;
use nahook::types::TriggerOptions;
use serde_json::json;

use super::two;
use crate::support::manifest::{EVENT_TYPE, KEY, SECRET, endpoint, shop};
use crate::support::receiver::{Arrival, Receiver, Reply};
use crate::support::server::Server;
use crate::support::{SOON, until};

/// Asks `server` until its answer is as expected.
async fn answers(server: &Server, status: u16, delivery_ids: usize) {
    let give_up = std::time::Instant::now() + SOON;
    loop {
        let answer = server.api().trigger(EVENT_TYPE, "{}").await;
        let is_expected = answer.status == status
            && (status != 202 || answer.delivery_ids().len() == delivery_ids);
        if is_expected {
            return;
        }
        assert!(std::time::Instant::now() < give_up, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_may_ask_either_and_every_delivery_arrives_once() {
    let receiver = Receiver::start().await;
    let endpoints =
        ["ep_1", "ep_2", "ep_3"].map(|id| endpoint(id, &receiver.url(&format!("/{id}"))));
    let servers = two(&shop(endpoints.into())).await;
    let clients = servers.each_ref().map(|server| {
        let base_url = format!("http://{}", server.address);
        NahookClient::builder(KEY)
            .base_url(base_url)
            .retries(0)
            .build()
            .unwrap()
    });
    let mut told = HashSet::new();
    for number in 0..60 {
        let options = TriggerOptions {
            payload: json!({ "number": number }),
            metadata: None,
        };
        let client = &clients[number % 2];
        let result = client.trigger(EVENT_TYPE, options).await.unwrap();
        assert_eq!(result.event_type_id, "evt_order_paid");
        told.extend(result.delivery_ids);
    }
    assert_eq!(told.len(), 180, "ids are unique across both");
    let arrivals = receiver.exactly(180).await;
    let arrived = |arrival: &Arrival| arrival.header("nahook-delivery-id").to_owned();
    assert_eq!(arrivals.iter().map(arrived).collect::<HashSet<_>>(), told);
    for arrival in arrivals {
        arrival.assert_signed(SECRET);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_accepted_both_deliver() {
    let receiver = Receiver::start().await;
    let endpoints = (0..20).map(|n| endpoint(&format!("ep_{n}"), &receiver.url("/any")));
    let [asked, idle] = two(&shop(endpoints.collect())).await;
    // The other one's word makes the idle one look.
    let give_up = std::time::Instant::now() + SOON;
    let attempts = |server: &Server| server.process.stderr.count(&["attempt", "del_"]);
    while attempts(&asked) == 0 || attempts(&idle) == 0 {
        assert!(
            std::time::Instant::now() < give_up,
            "one of them delivers nothing"
        );
        assert_eq!(asked.api().trigger(EVENT_TYPE, "{}").await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_attempted_again_by_whichever_is_there() {
    let receiver = Receiver::start().await;
    receiver.reply("/ep_1", [Reply::Status(500), Reply::Status(200)]);
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/ep_1"))]);
    let [one, mut other] = two(&manifest).await;
    let ids = one.trigger("{}").await;
    receiver.wait_for(1).await;
    // Whoever made the attempt has settled it a moment later; the one that is left makes the next.
    let attempted = |server: &Server| server.process.stderr.count(&["attempt", &ids[0]]) > 0;
    until(SOON, "the attempt is on record", || {
        (attempted(&one) || attempted(&other)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut first = one;
    let ends = if attempted(&first) {
        &mut first
    } else {
        &mut other
    };
    ends.process.terminate();
    ends.process.exit(SOON).await;
    let arrivals = receiver.wait_for(2).await;
    for (number, arrival) in (1..).zip(&arrivals) {
        assert_eq!(arrival.header("nahook-delivery-id"), ids[0]);
        assert_eq!(arrival.header("nahook-attempt"), number.to_string());
    }
    assert_eq!(
        arrivals[0].header("webhook-id"),
        arrivals[1].header("webhook-id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_beside_one_is_seen_by_both() {
    let receiver = Receiver::start().await;
    let endpoints = ["ep_1", "ep_2"].map(|id| endpoint(id, &receiver.url("/any")));
    let [one, other] = two(&shop(endpoints[..1].to_vec())).await;
    for server in [&one, &other] {
        // Now it is in its cache.
        answers(server, 202, 1).await;
    }
    let applied = one.apply(&shop(endpoints.into())).await;
    assert!(applied.success, "{}", applied.stderr);
    for server in [&one, &other] {
        answers(server, 202, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled_is_refused_by_both_until_it_is_enabled() {
    let [one, other] = two(&shop(vec![])).await;
    for server in [&one, &other] {
        answers(server, 202, 0).await;
    }
    for (word, status) in [("disable", 403), ("enable", 202), ("revoke", 401)] {
        let done = one.tool("keys", &[word, "key_shop"]).await;
        assert!(done.success, "{}", done.stderr);
        for server in [&one, &other] {
            answers(server, status, 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_says_gone_is_gone_for_both() {
    let receiver = Receiver::start().await;
    receiver.reply("/gone", [Reply::Status(410)]);
    let endpoints = vec![
        endpoint("ep_gone", &receiver.url("/gone")),
        endpoint("ep_stays", &receiver.url("/stays")),
    ];
    let [one, other] = two(&shop(endpoints)).await;
    for server in [&one, &other] {
        answers(server, 202, 1).await;
    }
}
