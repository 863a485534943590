//! A tenant that takes what it can of what all share, and another whose calls go on.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::api::{Answer, Api};
use crate::support::manifest::EVENT_TYPE;
use crate::support::server::Server;

const GREEDY: &str = "nhk_us_00000000000000000000000000000000000000000000000000000000000000aa";
const GREEDY_TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000aa";
const MODEST: &str = "nhk_us_00000000000000000000000000000000000000000000000000000000000000bb";
const MODEST_TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000bb";
/// Longest that any answer is waited for.
const PATIENCE: Duration = Duration::from_mins(3);

/// A workspace with so many subscribed endpoints whose URLs have that length.
fn workspace(name: &str, (key, token): (&str, &str), endpoints: usize, url_len: usize) -> Value {
    let path = "x".repeat(url_len);
    let endpoints: Vec<_> = (0..endpoints)
        .map(|n| {
            json!({
                "id": format!("ep_{name}_{n}"), "url": format!("https://{name}.example/{path}{n}"),
                "event_types": [EVENT_TYPE],
            })
        })
        .collect();
    json!({
        "id": format!("ws_{name}"), "name": name,
        "event_types": [{"name": EVENT_TYPE}],
        "endpoints": endpoints,
        "api_keys": [{"name": "key", "key": key}],
        "management_tokens": [{"name": "token", "token": token}],
    })
}

/// A server that delivers nothing, for a greedy workspace and a modest one.
async fn server(greedy: Value) -> Server {
    let modest = workspace("modest", (MODEST, MODEST_TOKEN), 1, 10);
    let manifest = json!({ "workspaces": [greedy, modest] });
    Server::with_settings(&manifest, &["--hold-deliveries", "true"]).await
}

/// Triggers as the modest workspace, which has one endpoint: its deliveries are queued whatever the other does.
async fn modest_goes_on(server: &Server, calls: usize) {
    let api = server.api_with(MODEST);
    for _ in 0..calls {
        assert_eq!(api.trigger(EVENT_TYPE, "{}").await.delivery_ids().len(), 1);
    }
}

fn assert_told_when_to_come_again(answer: &Answer) {
    answer.assert_error(429, "rate_limited");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
}

/// Sends a head and a part of its body, and returns the answer's status once there is one.
async fn stall(server: &Server, head: String, part: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let part = vec![b' '; part];
    // The server may have answered, and may read no more.
    let _ = timeout(Duration::from_secs(1), stream.write_all(&part)).await;
    stream
}

async fn status(mut stream: TcpStream) -> String {
    let mut answer = vec![0; 4_096];
    let len = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..len.unwrap_or(0)]).into_owned();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Row 5: 200 stalled batch bodies of one key took 1,076 MB.
#[tokio::test]
async fn stalled_bodies_of_a_workspace_take_its_share_of_memory() {
    let greedy = workspace("greedy", (GREEDY, GREEDY_TOKEN), 1, 10);
    let server = server(greedy).await;
    modest_goes_on(&server, 1).await;
    let before = server.process.memory_kib();
    let head = format!(
        "POST /api/ingest/event/batch HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {GREEDY}\r\n\
         content-length: 7000000\r\n\r\n"
    );
    let mut stalled = Vec::new();
    for _ in 0..60 {
        stalled.push(stall(&server, head.clone(), 4_000_000).await);
    }
    modest_goes_on(&server, 20).await;
    let grown = server.process.memory_peak_kib().saturating_sub(before);
    let mut refused = 0;
    for stream in stalled {
        refused += usize::from(status(stream).await == "429");
    }
    // Nine of the announced length fit at once, and a few more as those end.
    assert!(refused >= 20, "{refused} of 60 were refused");
    assert!(grown < 160_000, "{grown} KiB");
}

/// Row 5: 150 lists of 20,000 endpoints that nobody read took 1,056 MB.
#[tokio::test]
async fn lists_that_nobody_reads_take_their_workspaces_share_of_memory() {
    let greedy = workspace("greedy", (GREEDY, GREEDY_TOKEN), 2_000, 1_800);
    let server = server(greedy).await;
    modest_goes_on(&server, 1).await;
    let before = server.process.memory_kib();
    let head = format!(
        "GET /management/v1/workspaces/ws_greedy/endpoints HTTP/1.1\r\nhost: h\r\n\
         authorization: Bearer {GREEDY_TOKEN}\r\n\r\n"
    );
    let mut unread = Vec::new();
    for _ in 0..80 {
        unread.push(stall(&server, head.clone(), 0).await);
    }
    // Of those lists 320 MB would wait for their readers.
    for _ in 0..20 {
        modest_goes_on(&server, 1).await;
        let list = server.api_with(MODEST_TOKEN);
        let list = list
            .get("/management/v1/workspaces/ws_modest/endpoints")
            .await;
        assert_eq!(list.status, 200, "{list:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let grown = server.process.memory_peak_kib().saturating_sub(before);
    assert!(grown < 160_000, "{grown} KiB");
    drop(unread);
}

/// Row 4: test events and retries were outside of every plan, and a call cost one token whatever its width.
#[tokio::test]
async fn deliveries_cost_what_they_are_however_they_are_asked_for() {
    let mut greedy = workspace("greedy", (GREEDY, GREEDY_TOKEN), 300, 10);
    greedy["plan"] = json!({ "delivery_rate": { "count": 1, "period_secs": 60, "burst": 100 } });
    let server = server(greedy).await;
    let (keys, tokens) = (server.api_with(GREEDY), server.api_with(GREEDY_TOKEN));
    // One that is wider than the burst is let in, and is paid off before the next.
    let first = keys.trigger(EVENT_TYPE, "{}").await;
    assert_eq!(first.delivery_ids().len(), 300);
    let base = "/management/v1/workspaces/ws_greedy";
    let event = json!({"eventType": EVENT_TYPE, "payload": {}});
    assert_told_when_to_come_again(&keys.trigger(EVENT_TYPE, "{}").await);
    let send = keys
        .post("/api/ingest/ep_greedy_1", r#"{"payload":{}}"#)
        .await;
    assert_told_when_to_come_again(&send);
    let test = tokens
        .post(&format!("{base}/endpoints/ep_greedy_1/test"), "{}")
        .await;
    assert_told_when_to_come_again(&test);
    let since = json!({"since": "2026-01-01"}).to_string();
    let retry = format!("{base}/endpoints/ep_greedy_1/deliveries/retry");
    assert_told_when_to_come_again(&tokens.post(&retry, since).await);
    let batch = json!({ "items": [event] }).to_string();
    let batch = keys.post("/api/ingest/event/batch", batch).await;
    assert_eq!(batch.json()["items"][0]["error"]["code"], "rate_limited");
    modest_goes_on(&server, 20).await;
}

/// Row 3: sixty connections whose changes were only refused kept the writer from publishing.
#[tokio::test]
async fn refused_changes_do_not_hold_up_what_others_publish() {
    let greedy = workspace("greedy", (GREEDY, GREEDY_TOKEN), 1, 10);
    let server = server(greedy).await;
    let mut attack = JoinSet::new();
    for _ in 0..60 {
        let api = Api::new(server.address, GREEDY_TOKEN);
        attack.spawn(async move {
            let (mut conflicts, mut others) = (0, 0);
            loop {
                let path = "/management/v1/workspaces/ws_greedy/api-keys";
                let body = json!({"name": "key"}).to_string();
                match api.send(Method::POST, path, body).await {
                    Ok(answer) if answer.status == 409 => conflicts += 1,
                    Ok(answer) if answer.status == 429 => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    _ => others += 1,
                }
                if conflicts + others >= 20 {
                    return others;
                }
            }
        });
    }
    modest_goes_on(&server, 100).await;
    while let Some(others) = attack.join_next().await {
        assert_eq!(others.unwrap(), 0, "every change is refused by 409 or 429");
    }
}
