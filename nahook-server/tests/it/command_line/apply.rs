//! `nahook apply`.

use serde_json::json;
use tempfile::TempDir;

use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::process::{Ended, Nahook};
use crate::support::receiver::Receiver;
use crate::support::server::{Server, apply};

const NOTHING_CHANGED: &str = "0 created, 0 updated, 0 removed";

/// Applies a text under that file name.
async fn apply_text(dir: &TempDir, name: &str, text: &str, flags: &[&str]) -> Ended {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let arguments = [&["apply", path.to_str().unwrap()], flags].concat();
    Nahook::run(dir.path(), &arguments).await
}

fn last_line(ended: &Ended) -> &str {
    assert!(ended.success, "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout.trim_end().lines().last().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_is_applied_once_and_then_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let example = include_str!("../../../examples/manifest.toml");

    let planned = apply_text(&dir, "example.toml", example, &["--dry-run"]).await;
    let first = apply_text(&dir, "example.toml", example, &[]).await;
    let second = apply_text(&dir, "example.toml", example, &[]).await;

    // What was planned is what was done, in the same order; only secrets and ids are drawn anew.
    let kinds = |text: &str| -> Vec<String> {
        let is_shown_before = |line: &&str| line.contains("secret (shown this once)");
        let lines = text
            .lines()
            .filter(|line| !is_shown_before(line))
            .map(|line| line.replace("would create", "created"));
        lines
            .map(|line| line.split_whitespace().take(2).collect())
            .collect()
    };
    assert_eq!(kinds(&planned.stdout), kinds(&first.stdout));
    assert!(last_line(&planned).ends_with("(dry run: nothing was changed)"));
    assert!(!planned.stdout.contains("nhk_") && !planned.stdout.contains("whsec_"));
    assert!(
        last_line(&first).ends_with("created, 0 updated, 0 removed"),
        "{}",
        first.stdout
    );
    assert_eq!(last_line(&second), NOTHING_CHANGED);
    assert_eq!(second.stdout.lines().count(), 1);

    // What was drawn is shown: every key and token, and the one signing secret that the example leaves out.
    for (prefix, count) in [("nhk_us_", 3), ("nhm_", 2), ("whsec_", 1)] {
        let shown = first.stdout.matches(prefix).count();
        assert_eq!(shown, count, "{}", first.stdout);
    }
    // Nobody knows the keys of two who have applied the example.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = apply_text(&elsewhere, "example.toml", example, &[]).await;
    let secrets = |ended: &Ended| -> Vec<String> {
        let words = ended.stdout.split_whitespace();
        let is_secret = |word: &&str| word.starts_with("nhk_") || word.starts_with("nhm_");
        words.filter(is_secret).map(str::to_owned).collect()
    };
    assert!(
        secrets(&first)
            .iter()
            .all(|it| !secrets(&other).contains(it))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_toml_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let json = json!({ "workspaces": [{
        "id": "ws_1", "name": "One",
        "event_types": [{ "name": EVENT_TYPE }],
        "endpoints": [{ "url": "http://192.0.2.1/", "event_types": [EVENT_TYPE] }],
    }] });
    let toml = "[[workspaces]]\nid = 'ws_1'\nname = 'One'\n\
        [[workspaces.event_types]]\nname = 'order.paid'\n\
        [[workspaces.endpoints]]\nurl = 'http://192.0.2.1/'\nevent_types = ['order.paid']\n";

    assert_ne!(
        last_line(&apply_text(&dir, "a.json", &json.to_string(), &[]).await),
        NOTHING_CHANGED
    );
    assert_eq!(
        last_line(&apply_text(&dir, "a.toml", toml, &[]).await),
        NOTHING_CHANGED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_manifest_names_the_place_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let good = "[[workspaces]]\nname = 'Good'\n";
    let with = |rest: &str| format!("{good}{rest}");
    let key = "key = 'nhk_us_1_000000000000000000000000000'\n";
    let broken = [
        ("not toml", with("name = \n"), "broken.toml"),
        ("an unknown field", with("colour = 'red'\n"), "colour"),
        (
            "a wrong type",
            with("plan = { payload_len_max = 'big' }\n"),
            "payload_len_max",
        ),
        (
            "an event type that is not there",
            with(
                "[[workspaces.endpoints]]\nurl = 'http://192.0.2.1/'\nevent_types = ['un.known']\n",
            ),
            "un.known",
        ),
        (
            "a name that is no event type",
            with("[[workspaces.event_types]]\nname = 'a b'\n"),
            "name",
        ),
        (
            "a URL that is none",
            with("[[workspaces.endpoints]]\nurl = 'ftp://192.0.2.1/'\n"),
            "ftp://192.0.2.1/",
        ),
        (
            "a key given twice",
            with(&format!(
                "[[workspaces.api_keys]]\nname = 'a'\n{key}[[workspaces.api_keys]]\nname = 'b'\n{key}"
            )),
            "\"b\"",
        ),
        (
            "a second workspace that is broken",
            with("[[workspaces]]\nname = ''\n"),
            "workspace",
        ),
        (
            "a name declared twice",
            with("[[workspaces]]\nname = 'Good'\n"),
            "Good",
        ),
    ];
    for (what, text, place) in &broken {
        let applied = apply_text(&dir, "broken.toml", text, &[]).await;
        assert!(
            !applied.success && applied.stdout.is_empty(),
            "{what}: {}",
            applied.stdout
        );
        assert!(applied.stderr.contains(place), "{what}: {}", applied.stderr);
        assert!(
            !applied
                .stderr
                .contains("nhk_us_1_000000000000000000000000000"),
            "{what}: {}",
            applied.stderr
        );
    }
    let missing = Nahook::run(dir.path(), &["apply", "missing.toml"]).await;
    assert!(
        !missing.success && missing.stderr.contains("missing.toml"),
        "{}",
        missing.stderr
    );

    // The good workspace that stands in each of them is still to be made: all or nothing.
    let applied = apply_text(&dir, "good.toml", good, &[]).await;
    assert!(
        applied.stdout.contains("created workspace \"Good\""),
        "{}",
        applied.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_sees_a_change_at_its_next_trigger() {
    let receiver = Receiver::start().await;
    let first = endpoint("ep_1", &receiver.url("/1"));
    let mut second = endpoint("ep_2", &receiver.url("/2"));
    let server = Server::with(&shop(vec![first.clone()])).await;
    let api = server.api();
    let width = async || api.trigger(EVENT_TYPE, "{}").await.delivery_ids().len();
    assert_eq!(width().await, 1);

    let added = server
        .apply(&shop(vec![first.clone(), second.clone()]))
        .await;
    assert_eq!(last_line(&added), "2 created, 0 updated, 0 removed");
    assert_eq!(width().await, 2);

    second["is_active"] = json!(false);
    let disabled = server
        .apply(&shop(vec![first.clone(), second.clone()]))
        .await;
    assert_eq!(last_line(&disabled), "0 created, 1 updated, 0 removed");
    assert_eq!(width().await, 1);

    second["is_active"] = json!(true);
    second["event_types"] = json!([]);
    let unsubscribed = server.apply(&shop(vec![first.clone(), second])).await;
    assert_eq!(last_line(&unsubscribed), "0 created, 1 updated, 1 removed");
    assert_eq!(width().await, 1);

    // What a manifest does not name stays.
    assert_eq!(
        last_line(&server.apply(&shop(vec![])).await),
        NOTHING_CHANGED
    );
    assert_eq!(width().await, 1);

    let mut smaller = shop(vec![]);
    smaller["workspaces"][0]["plan"] = json!({ "payload_len_max": 10 });
    assert_eq!(
        last_line(&server.apply(&smaller).await),
        "0 created, 1 updated, 0 removed"
    );
    api.trigger(EVENT_TYPE, "{\"n\":12345678}")
        .await
        .assert_error(413, "payload_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_beside_a_server_changes_nothing() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![])).await;
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    std::fs::write(server.dir().join("more.json"), manifest.to_string()).unwrap();

    let planned = Nahook::run(server.dir(), &["apply", "more.json", "--dry-run"]).await;

    assert!(
        last_line(&planned).starts_with("2 created, 0 updated, 0 removed"),
        "{}",
        planned.stdout
    );
    assert!(server.trigger("{}").await.is_empty());
    let applied = apply(server.dir(), &manifest).await;
    assert_eq!(last_line(&applied), "2 created, 0 updated, 0 removed");
    assert_eq!(server.trigger("{}").await.len(), 1);
}
