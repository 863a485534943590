//! Back-pressure: whoever is turned away is told when to come back, before anything is charged or queued.

use std::time::{Duration, Instant};

use http::Method;
use nahook_testserver::{PostgresServer, SmallDisk};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::support::api::{Answer, Api};
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server};

const TOKEN: &str = "nhm_00000000000000000000000000000000000000000000000000000000000000e2";
const BASE: &str = "/management/v1/workspaces/ws_shop";
/// Upper bound on the wait for what does not depend on how busy the machine is.
const PATIENCE: Duration = Duration::from_mins(5);

/// One endpoint, a management token, and a plan of 1,000 calls.
fn manifest(url: &str) -> Value {
    let mut manifest = shop(vec![endpoint("ep_1", url)]);
    let workspace = &mut manifest["workspaces"][0];
    workspace["management_tokens"] = json!([{ "name": "ops", "token": TOKEN }]);
    workspace["plan"] = json!({ "key_rate": { "count": 1_000, "period_secs": 86_400 } });
    manifest
}

/// Returns the seconds to wait that a refusal names.
fn turned_away(answer: &Answer) -> u64 {
    let json = answer.json();
    let message = json["error"]["message"].as_str().unwrap();
    let error = json!({ "code": "unavailable", "message": message });
    assert_eq!(answer.status, 503, "{json}");
    assert_eq!(json, json!({ "error": error, "deliveryIds": [] }));
    let seconds = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
    seconds
}

/// Asks until the answer is of that kind.
async fn until<F: Future<Output = Answer>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    is_it: impl Fn(&Answer) -> bool,
) -> Answer {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if is_it(&answer) {
            return answer;
        }
        assert!(Instant::now() < give_up, "{what}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn check(api: &Api, name: &str) -> String {
    let json = api.get("/readyz").await.json();
    json["checks"][name].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_turns_events_away_and_lets_a_revocation_and_settlements_through() {
    let Some(disk) = block_in_place(|| SmallDisk::mount(16)) else {
        return;
    };
    let receiver = Receiver::start().await;
    let store = format!("sqlite://{}", disk.path().join("nahook.db").display());
    let [server] = Server::sharing(&store, &manifest(&receiver.url("/1"))).await;
    let (api, operator) = (server.api(), server.api_with(TOKEN));
    let first = api.trigger(EVENT_TYPE, "{}").await;
    assert_eq!(first.delivery_ids().len(), 1);
    let left = |answer: &Answer| answer.header("x-ratelimit-remaining").unwrap().to_owned();
    assert_eq!(check(&api, "disk").await, "ok");

    block_in_place(|| disk.fill());
    let trigger = || api.trigger(EVENT_TYPE, "{}");
    let is_full = |answer: &Answer| answer.status == 503;
    let refused = until("it is never full", trigger, is_full).await;
    turned_away(&refused);
    let before = left(&refused);
    let again = api.trigger(EVENT_TYPE, "{}").await;
    turned_away(&again);
    assert_eq!(left(&again), before, "nothing is charged");
    assert!(check(&api, "disk").await.contains("nearly full"));
    assert_eq!(api.get("/readyz").await.status, 503);
    let test = format!("{BASE}/endpoints/ep_1/test");
    turned_away(&operator.post(&test, "{}").await);

    // Changes of the catalog go on.
    let disabled = json!({ "isActive": false }).to_string();
    let path = format!("{BASE}/endpoints/ep_1");
    let patched = operator.send(Method::PATCH, &path, disabled).await.unwrap();
    assert_eq!(patched.status, 200, "{patched:?}");
    let revoked = server.tool("keys", &["revoke", "key_shop"]).await;
    assert!(revoked.success, "{}", revoked.stderr);
    let is_unknown = |answer: &Answer| answer.status == 401;
    until("the key is not revoked", trigger, is_unknown).await;

    std::fs::remove_file(disk.ballast()).unwrap();
    let ready = || api.get("/readyz");
    until("it is not ready again", ready, |answer| {
        answer.status == 200
    })
    .await;
    receiver.exactly(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backlog_that_is_too_old_turns_events_away_until_it_has_drained() {
    let receiver = Receiver::start().await;
    let mut endpoints = Vec::new();
    for number in 0..400 {
        endpoints.push(endpoint(&format!("ep_{number}"), &receiver.url("/any")));
    }
    let marks = ["--pressure-refuse-at", "1", "--hold-deliveries"];
    let settings = [&ALLOW_LOOPBACK[..], &marks].concat();
    let mut server = Server::with_settings(&shop(endpoints), &settings).await;
    let mut queued = 0;
    let mut trigger = async |api: &Api| {
        let answer = api.trigger(EVENT_TYPE, "{}").await;
        if answer.status == 202 {
            queued += answer.delivery_ids().len();
        }
        answer
    };
    let api = server.api();
    for _ in 0..50 {
        assert_eq!(trigger(&api).await.status, 202);
    }
    // Held for longer than the mark, which says nothing while nothing is to be delivered.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(trigger(&api).await.status, 202);
    assert_eq!(check(&api, "pressure").await, "ok");

    server.arguments.retain(|it| it != "--hold-deliveries");
    server.process.terminate();
    server.process.exit(PATIENCE).await;
    server.start_again().await;
    let api = server.api();
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = trigger(&api).await;
        if answer.status == 503 {
            turned_away(&answer);
            break;
        }
        assert!(Instant::now() < give_up, "it is never refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    loop {
        let answer = trigger(&api).await;
        if answer.status == 202 {
            break;
        }
        assert!(Instant::now() < give_up, "it is refused for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    receiver.wait_for(queued).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_without_room_turns_events_away() {
    let postgres = PostgresServer::shared();
    let url = postgres.create_database();
    let receiver = Receiver::start().await;
    let [server] = Server::sharing(&url, &manifest(&receiver.url("/1"))).await;
    let api = server.api();
    assert_eq!(api.trigger(EVENT_TYPE, "{}").await.delivery_ids().len(), 1);
    let full = "CREATE FUNCTION nahook.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'staged' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT ON nahook.record EXECUTE FUNCTION nahook.no_room()";
    block_in_place(|| postgres.query(&url, full));
    for _ in 0..3 {
        turned_away(&api.trigger(EVENT_TYPE, "{}").await);
    }
    assert!(check(&api, "disk").await.contains("nearly full"));
    let room = "DROP TRIGGER no_room ON nahook.record";
    block_in_place(|| postgres.query(&url, room));
    let trigger = || api.trigger(EVENT_TYPE, "{}");
    let taken = until("it stays full", trigger, |answer| answer.status == 202).await;
    assert_eq!(taken.delivery_ids().len(), 1);
    receiver.exactly(2).await;
}
