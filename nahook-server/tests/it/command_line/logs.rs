//! Logs of the server's work, without secrets.

use serde_json::Value;

use crate::support::manifest::{EVENT_TYPE, KEY, SECRET, endpoint, shop};
use crate::support::process::Lines;
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, Server};
use crate::support::{SOON, until};

/// The lines of the log whose message is this.
fn lines(logged: &Lines, message: &str) -> Vec<Value> {
    let all = logged.all();
    let parsed = all.iter().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    parsed.filter(|line| line["message"] == message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_line_for_each_trigger_and_each_attempt_and_no_secret_in_any() {
    let receiver = Receiver::start().await;
    receiver.reply("/fails", [Reply::Status(500)]);
    let endpoints = ["fine", "fails"]
        .map(|name| endpoint(&format!("ep_{name}"), &receiver.url(&format!("/{name}"))));
    let server = Server::with(&shop(endpoints.into())).await;
    let payload = "{\"card\":\"4111-payload-4111\"}";
    let body = format!("{{\"payload\":{payload},\"metadata\":{{\"who\":\"label-of-someone\"}}}}");

    let answer = server
        .api()
        .post(&format!("/api/ingest/event/{EVENT_TYPE}"), body)
        .await;
    let ids = answer.delivery_ids();
    server
        .api()
        .trigger("order.unheard-of", payload)
        .await
        .assert_error(404, "not_found");

    receiver.wait_for(2).await;
    let logged = server.process.stderr.clone();
    let attempts = until(SOON, "both attempts are logged", || {
        Some(lines(&logged, "attempt")).filter(|attempts| attempts.len() == 2)
    });
    for (id, line) in ids.iter().zip(sorted(attempts.await)) {
        assert!(line.to_string().contains(id), "{id}: {line}");
    }
    let triggers = lines(&logged, "trigger");
    assert_eq!(triggers.len(), 2, "{triggers:?}");
    let [accepted, refused] = [&triggers[0], &triggers[1]];
    assert_eq!(
        (&accepted["status"], &accepted["queued"]),
        (&202.into(), &2.into())
    );
    assert_eq!(accepted["request"].as_str(), answer.header("x-request-id"));
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&404.into(), &"not_found".into())
    );

    let text = logged.text();
    for secret in [
        KEY,
        SECRET,
        SECRET.trim_start_matches("whsec_"),
        "4111-payload-4111",
        "label-of-someone",
    ] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

fn sorted(mut lines: Vec<Value>) -> Vec<Value> {
    lines.sort_by_key(ToString::to_string);
    lines.sort_by_key(|line| line["delivery_id"].as_str().map(str::to_owned));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happens() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    server.trigger("{}").await;
    receiver.exactly(1).await;
    let url = format!("http://{}/metrics", server.operations().await);
    let (status, text) = crate::support::shell::shell(server.dir(), &format!("curl {url}")).await;
    assert_eq!(status, 200);
    assert!(
        text.lines()
            .any(|line| line.starts_with("nahook_") && line.contains("202")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_for_people_are_not_json() {
    let arguments = [&ALLOW_LOOPBACK[..], &["--log-format", "human"]].concat();
    let server = Server::with_settings(&shop(vec![]), &arguments).await;
    server.trigger("{}").await;
    let logged = server.process.stderr.clone();
    let line = until(SOON, "the trigger is logged", || logged.find(EVENT_TYPE)).await;
    assert!(serde_json::from_str::<Value>(&line).is_err(), "{line}");
    assert!(
        !line.contains('\u{1b}'),
        "colours outside a terminal: {line}"
    );
}
