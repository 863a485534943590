//! `nahook keys`, beside a running server.

use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::process::{Ended, Nahook};
use crate::support::server::Server;

async fn keys(server: &Server, arguments: &[&str]) -> Ended {
    Nahook::run(server.dir(), &[&["keys"], arguments].concat()).await
}

/// Makes a key; answers its id and the key itself.
async fn create(server: &Server, arguments: &[&str]) -> (String, String) {
    let made = keys(server, &[&["create"], arguments].concat()).await;
    assert!(made.success, "{}", made.stderr);
    let mut words = made.stdout.split_whitespace();
    (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    )
}

async fn change(server: &Server, verb: &str, id: &str) {
    let changed = keys(server, &[verb, id]).await;
    assert!(changed.success, "{}", changed.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_sees_every_change_at_its_next_trigger() {
    let server = Server::with(&shop(vec![endpoint("ep_1", "http://192.0.2.1/")])).await;
    let (id, key) = create(&server, &["ci"]).await;
    assert!(
        id.starts_with("key_") && key.starts_with("nhk_"),
        "{id} {key}"
    );
    let api = server.api_with(&key);

    assert_eq!(api.trigger(EVENT_TYPE, "{}").await.delivery_ids().len(), 1);
    change(&server, "disable", &id).await;
    api.trigger(EVENT_TYPE, "{}")
        .await
        .assert_error(403, "token_disabled");
    change(&server, "enable", &id).await;
    assert_eq!(api.trigger(EVENT_TYPE, "{}").await.status, 202);
    change(&server, "revoke", &id).await;
    api.trigger(EVENT_TYPE, "{}")
        .await
        .assert_error(401, "unauthorized");

    // Revoking is final, and the other key has nothing to do with it.
    let again = keys(&server, &["enable", &id]).await;
    assert!(
        !again.success && !again.stderr.is_empty(),
        "{}",
        again.stdout
    );
    api.trigger(EVENT_TYPE, "{}")
        .await
        .assert_error(401, "unauthorized");
    assert_eq!(server.api().trigger(EVENT_TYPE, "{}").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_keys_and_their_state_but_no_secret() {
    let server = Server::with(&shop(vec![endpoint("ep_1", "http://192.0.2.1/")])).await;
    let (bound, secret) = create(&server, &["bound", "--endpoint", "ep_1"]).await;
    change(&server, "disable", &bound).await;
    let (revoked, _) = create(&server, &["old", "--workspace", "Shop"]).await;
    change(&server, "revoke", &revoked).await;

    let list = keys(&server, &["list"]).await;

    let line = |id: &str| {
        list.stdout
            .lines()
            .find(|line| line.starts_with(id))
            .unwrap()
            .to_owned()
    };
    assert!(line("key_shop").contains("active"));
    assert!(
        line(&bound).contains("disabled") && line(&bound).contains("ep_1"),
        "{}",
        line(&bound)
    );
    assert!(line(&revoked).contains("revoked"));
    assert_eq!(list.stdout.lines().count(), 3, "{}", list.stdout);
    assert!(!list.stdout.contains(&secret) && !list.stdout.contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_bound_to_an_endpoint_may_not_trigger() {
    let server = Server::with(&shop(vec![endpoint("ep_1", "http://192.0.2.1/")])).await;
    let (_, key) = create(&server, &["bound", "--endpoint", "ep_1"]).await;
    server
        .api_with(&key)
        .trigger(EVENT_TYPE, "{}")
        .await
        .assert_error(400, "invalid_api_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_and_not_done() {
    let server = Server::with(&shop(vec![])).await;
    for arguments in [
        &["create", "shop"][..],
        &["create", "new", "--workspace", "Nobody"],
        &["create", "new", "--environment", "nowhere"],
        &["create", "new", "--endpoint", "ep_nowhere"],
        &["disable", "key_unknown"],
        &["revoke", "not an id"],
        &["list", "--workspace", "Nobody"],
    ] {
        let refused = keys(&server, arguments).await;
        assert!(
            !refused.success && refused.stdout.is_empty(),
            "{arguments:?}: {}",
            refused.stdout
        );
        assert!(
            refused.stderr.starts_with("nahook: "),
            "{arguments:?}: {}",
            refused.stderr
        );
    }
    let list = keys(&server, &["list"]).await;
    assert_eq!(list.stdout.lines().count(), 1, "{}", list.stdout);
}
