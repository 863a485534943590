//! Lives of deliveries: repeated, given up, refused; in real time where a few seconds are enough.

use std::time::Duration;

use serde_json::json;

use crate::support::manifest::{EVENT_TYPE, SECRET, endpoint, shop};
use crate::support::receiver::{Arrival, Receiver, Reply};
use crate::support::server::Server;
use crate::support::{SOON, until};

const PAYLOAD: &str = "{ \"orderId\": \"ord_123\" }";
/// Delay that is allowed on a busy machine.
const SLACK: Duration = Duration::from_secs(30);

async fn server_with(receiver: &Receiver, paths: &[&str]) -> Server {
    let endpoints = paths
        .iter()
        .map(|path| endpoint(&format!("ep_{path}"), &receiver.url(&format!("/{path}"))));
    Server::with(&shop(endpoints.collect())).await
}

fn assert_between(first: &Arrival, second: &Arrival, least: Duration, most: Duration) {
    let gap = second.at - first.at;
    assert!(
        (least..=most + SLACK).contains(&gap),
        "{gap:?} between {first:?} and {second:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_attempted_again_after_five_seconds_as_the_same_message() {
    let receiver = Receiver::start().await;
    let failures = [("status", Reply::Status(500)), ("closed", Reply::Close)];
    for (path, failure) in &failures {
        receiver.reply(&format!("/{path}"), [failure.clone(), Reply::Status(200)]);
    }
    let server = server_with(&receiver, &["status", "closed", "fine"]).await;

    let ids = server.trigger(PAYLOAD).await;

    for (id, (path, _)) in ids.iter().zip(&failures) {
        let path = format!("/{path}");
        let attempts = receiver.wait_at(&path, 2).await;
        let (first, second) = (&attempts[0], &attempts[1]);
        // Five seconds with a tenth of jitter.
        assert_between(
            first,
            second,
            Duration::from_millis(4_400),
            Duration::from_millis(5_500),
        );
        for (number, attempt) in attempts.iter().enumerate() {
            assert_eq!(attempt.header("nahook-attempt"), (number + 1).to_string());
            assert_eq!(attempt.header("nahook-delivery-id"), id);
            assert_eq!(attempt.body, PAYLOAD);
            attempt.assert_signed(SECRET);
        }
        assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
        let timestamp =
            |attempt: &Arrival| attempt.header("webhook-timestamp").parse::<u64>().unwrap();
        // Each attempt is signed at its own time, so that receivers may refuse old ones.
        assert!((3..=60).contains(&(timestamp(second) - timestamp(first))));
    }
    assert_eq!(receiver.exactly(5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receivers_retry_after_is_honoured() {
    let receiver = Receiver::start().await;
    for (path, status) in [("/busy", 429), ("/down", 503)] {
        let wait = Reply::Header(status, "retry-after", "8".to_owned());
        receiver.reply(path, [wait, Reply::Status(204)]);
    }
    let server = server_with(&receiver, &["busy", "down"]).await;

    server.trigger(PAYLOAD).await;

    for path in ["/busy", "/down"] {
        let attempts = receiver.wait_at(path, 2).await;
        // The receiver notes a request a moment before it answers.
        let (least, most) = (Duration::from_millis(7_950), Duration::from_secs(8));
        assert_between(&attempts[0], &attempts[1], least, most);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_the_endpoint() {
    let receiver = Receiver::start().await;
    receiver.reply("/gone", [Reply::Status(410)]);
    let server = server_with(&receiver, &["gone", "stays"]).await;
    let api = server.api();

    assert_eq!(
        api.trigger(EVENT_TYPE, PAYLOAD).await.delivery_ids().len(),
        2
    );
    receiver.wait_at("/gone", 1).await;

    // The answer is on record a moment after it was given.
    let give_up = std::time::Instant::now() + SOON;
    while api.trigger(EVENT_TYPE, PAYLOAD).await.delivery_ids().len() != 1 {
        assert!(
            std::time::Instant::now() < give_up,
            "a gone endpoint stays subscribed"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What was queued for it before is not attempted again: it would come after five seconds.
    let before = receiver.arrivals_at("/gone").len();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(receiver.arrivals_at("/gone").len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let receiver = Receiver::start().await;
    let elsewhere = receiver.url("/elsewhere");
    for (path, status) in [("/found", 302), ("/moved", 308)] {
        let redirect = Reply::Header(status, "location", elsewhere.clone());
        receiver.reply(path, [redirect, Reply::Status(200)]);
    }
    let server = server_with(&receiver, &["found", "moved"]).await;

    server.trigger(PAYLOAD).await;

    // A second attempt is what shows that the first one has failed.
    for path in ["/found", "/moved"] {
        assert_eq!(
            receiver.wait_at(path, 2).await[1].header("nahook-attempt"),
            "2"
        );
    }
    assert!(receiver.arrivals_at("/elsewhere").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_an_unsigned_post_at_its_webhook_url_and_basic_auth_is_sent_beside_a_signature()
{
    let receiver = Receiver::start().await;
    let slack = json!({
        "id": "ep_slack", "type": "slack", "event_types": [EVENT_TYPE],
        "config": { "webhookUrl": receiver.url("/services/T/B/x") },
    });
    let mut private = endpoint("ep_private", &receiver.url("/private"));
    private["auth_username"] = "Aladdin".into();
    private["auth_password"] = "open sesame".into();
    let server = Server::with(&shop(vec![slack, private])).await;

    let answer = server.api().trigger(EVENT_TYPE, PAYLOAD).await;

    assert_eq!(answer.delivery_ids().len(), 2);
    let slack = &receiver.wait_at("/services/T/B/x", 1).await[0];
    assert_eq!(
        (slack.method.as_str(), &*slack.body),
        ("POST", PAYLOAD.as_bytes())
    );
    assert_eq!(slack.header("content-type"), "application/json");
    let mut names = slack.headers.keys();
    assert!(
        !names.any(|name| name.as_str().starts_with("webhook-") || name == "authorization"),
        "{slack:?}"
    );
    let private = &receiver.wait_at("/private", 1).await[0];
    assert_eq!(private.body, PAYLOAD);
    // The example of RFC 7617, section 2.
    assert_eq!(
        private.header("authorization"),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
    private.assert_signed(SECRET);
    assert_eq!(receiver.exactly(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_refused_unless_allowed() {
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
    ];
    let endpoints = hosts.iter().enumerate().map(|(number, host)| {
        endpoint(
            &format!("ep_{number}"),
            &format!("http://{host}:{port}/private"),
        )
    });
    let server = Server::with_settings(&shop(endpoints.collect()), &[]).await;

    let ids = server.trigger(PAYLOAD).await;

    assert_eq!(
        ids.len(),
        hosts.len(),
        "creating and triggering resolve nothing"
    );
    for id in &ids {
        // Each attempt is one line of the log.
        let attempted =
            || (server.process.stderr.count(&[id.as_str(), "attempt"]) > 0).then_some(());
        until(SOON, &format!("{id} is attempted"), attempted).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        receiver.connections(),
        0,
        "a private address was connected to"
    );
}
