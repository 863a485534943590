//! Receivers of one workspace that hang, or take their time, keep no slot from another workspace.

use std::time::Duration;

use nahook_testserver::PostgresServer;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::Server;
use crate::support::{SOON, until};

const OTHER_KEY: &str = "nhk_us_00000000000000000000000000000000000000000000000000000000000000b0";
/// Endpoints of the workspace that takes all it can, and events for each of them that wait.
const ENDPOINTS: usize = 600;
const EVENTS: usize = 40;
/// Slots that a workspace may hold of the 768 that there are, and endpoints of it without a success.
const SHARE: usize = 528;
const UNPROVEN: usize = 192;

/// A workspace whose endpoints all go to one receiver.
fn workspace(name: &str, key: &str, receiver: &Receiver, endpoints: usize) -> Value {
    let endpoints = (0..endpoints).map(|number| {
        let url = receiver.url("/hook");
        endpoint(&format!("ep_{name}_{number}"), &url)
    });
    json!({
        "id": format!("ws_{name}"),
        "name": name,
        "event_types": [{ "id": format!("evt_{name}"), "name": EVENT_TYPE }],
        "endpoints": endpoints.collect::<Vec<_>>(),
        "api_keys": [{ "id": format!("key_{name}"), "name": name, "key": key }],
    })
}

struct Rig {
    server: Server,
    /// Of the workspace that takes all it can.
    crowd: Receiver,
    receiver: Receiver,
    api: Api,
}

impl Rig {
    /// A server with a backlog for a workspace whose receiver answers so, and another workspace with four endpoints.
    async fn new(on_postgres: bool, crowd_reply: Reply, reply: Reply) -> Self {
        // The receivers have an end of each connection.
        rlimit::increase_nofile_limit(8_192).unwrap();
        let (crowd, receiver) = (Receiver::start().await, Receiver::start().await);
        crowd.reply("/hook", [crowd_reply]);
        receiver.reply("/hook", [reply]);
        let manifest = json!({ "workspaces": [
            workspace("crowd", KEY, &crowd, ENDPOINTS),
            workspace("other", OTHER_KEY, &receiver, 4),
        ] });
        let server = if on_postgres {
            let url = PostgresServer::shared().create_database();
            let [server] = Server::sharing(&url, &manifest).await;
            server
        } else {
            Server::with(&manifest).await
        };
        for _ in 0..EVENTS {
            let answer = server.api().trigger(EVENT_TYPE, "{}").await;
            assert_eq!(answer.delivery_ids().len(), ENDPOINTS);
        }
        let api = server.api_with(OTHER_KEY);
        Self {
            server,
            crowd,
            receiver,
            api,
        }
    }

    /// Waits until the crowd has had so many attempts.
    async fn crowded(&self, attempts: usize) {
        let what = format!("{attempts} attempts for the crowd");
        until(SOON, &what, || (self.crowd.len() >= attempts).then_some(())).await;
    }

    /// Triggers for the other workspace, one event after the other; the crowd gets no more than so many attempts while one waits.
    async fn serves_the_other(&self, events: usize, most: usize) {
        for number in 1..=events {
            let before = self.crowd.len();
            let answer = self.api.trigger(EVENT_TYPE, "{}").await;
            assert_eq!(answer.delivery_ids().len(), 4);
            self.receiver.wait_for(4 * number).await;
            let meanwhile = self.crowd.len() - before;
            assert!(
                meanwhile <= most,
                "event {number} waited for {meanwhile} attempts of the crowd"
            );
        }
    }
}

async fn hanging(on_postgres: bool) {
    let rig = Rig::new(on_postgres, Reply::Hang, Reply::Status(200)).await;
    rig.crowded(UNPROVEN / 2).await;
    rig.serves_the_other(20, UNPROVEN).await;
    // Until their attempts are given up, after fifteen seconds, no more than a quarter is held.
    let held = rig.crowd.len();
    assert!(held < 4 * UNPROVEN, "{held} attempts of those that hang");
    drop(rig.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_receivers_hold_no_other_workspace_back() {
    hanging(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_receivers_hold_no_other_workspace_back_on_postgres() {
    hanging(true).await;
}

async fn taking_their_time(on_postgres: bool) {
    let late = Reply::Late(Duration::from_millis(900), 200);
    let rig = Rig::new(on_postgres, late, Reply::Status(200)).await;
    rig.crowded(UNPROVEN + 1).await;
    rig.serves_the_other(20, 2 * SHARE).await;
    // The crowd goes on meanwhile, and gets most of the slots.
    rig.crowded(2 * SHARE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_take_their_time_hold_no_other_workspace_back() {
    taking_their_time(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_take_their_time_hold_no_other_workspace_back_on_postgres() {
    taking_their_time(true).await;
}

async fn slow_beside_hanging(on_postgres: bool) {
    let late = Reply::Late(Duration::from_millis(1_200), 200);
    let rig = Rig::new(on_postgres, Reply::Hang, late).await;
    rig.crowded(UNPROVEN / 2).await;
    for _ in 0..60 {
        let answer = rig.api.trigger(EVENT_TYPE, "{}").await;
        assert_eq!(answer.delivery_ids().len(), 4);
    }
    rig.receiver.wait_for(240).await;
    // A quarter at a time, for fifteen seconds each.
    let attempts = rig.crowd.len();
    assert!(
        attempts < 4 * UNPROVEN,
        "waited for {attempts} attempts of the crowd"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_receivers_are_served_beside_hanging_ones() {
    slow_beside_hanging(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_receivers_are_served_beside_hanging_ones_on_postgres() {
    slow_beside_hanging(true).await;
}
