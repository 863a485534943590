use std::ops::Range;
use std::path::Path;

use nahook_control::{ApplyMode, Catalog as _};
use nahook_core::id::WorkspaceId;
use nahook_queue::{DeliveryLog as _, DeliveryStatus};
use serde_json::{Value, json};

use super::{Imported, import};
use nahook_embed::{Backend, StoreUrl};

async fn backend() -> Backend {
    let backend = Backend::open_tool(&StoreUrl::Memory, None).await.unwrap();
    let manifest = json!({ "workspaces": [{
        "id": "ws_shop", "name": "Shop",
        "endpoints": [{ "id": "ep_1", "url": "http://192.0.2.1/" }],
    }] });
    let manifest = serde_json::from_value(manifest).unwrap();
    backend
        .catalog
        .apply(&manifest, ApplyMode::Commit)
        .await
        .unwrap();
    backend
}

async fn imported(backend: &Backend, lines: impl IntoIterator<Item = Value>) -> Imported {
    let read = |line| (1, serde_json::from_value(line).unwrap());
    let lines = lines.into_iter().map(read).collect();
    let done = import(backend, None, Path::new("history"), lines).await;
    done.unwrap()
}

fn failed(ids: Range<u32>) -> impl Iterator<Item = Value> {
    ids.map(|id| {
        json!({
            "id": format!("del_old_{id}"), "endpointId": "ep_1", "status": "failed",
            "createdAt": "2026-01-01T00:00:00Z",
            "attempts": [{ "responseStatusCode": 500, "createdAt": "2026-01-01T00:00:01Z" }],
        })
    })
}

#[tokio::test]
async fn import_counts_what_it_changes() {
    let backend = backend().await;
    let count = |changed, unchanged| Imported { changed, unchanged };
    assert_eq!(imported(&backend, failed(0..700)).await, count(700, 0));
    assert_eq!(imported(&backend, failed(0..700)).await, count(0, 700));
    assert_eq!(imported(&backend, failed(699..702)).await, count(2, 1));
    assert_eq!(imported(&backend, failed(0..0)).await, count(0, 0));
}

#[tokio::test]
async fn delivery_that_was_under_way_elsewhere_waits_for_nobody() {
    let backend = backend().await;
    let line = |id: &str, attempts: Value| {
        json!({
            "id": id, "endpointId": "ep_1", "status": "delivering", "createdAt": "2026-01-01T00:00:00Z",
            "attempts": attempts,
        })
    };
    let attempt = json!({ "responseStatusCode": 500, "createdAt": "2026-01-01T00:00:01Z" });
    let lines = [line("del_1", json!([])), line("del_2", json!([attempt]))];
    for changed in [2, 0] {
        let done = imported(&backend, lines.clone()).await;
        assert_eq!(done.changed, changed);
    }
    let workspace = WorkspaceId::new("ws_shop").unwrap();
    for (id, status, reason) in [
        (
            "del_1",
            DeliveryStatus::Failed,
            Some("not attempted: another server"),
        ),
        ("del_2", DeliveryStatus::ScheduledRetry, None),
    ] {
        let id = id.parse().unwrap();
        let record = backend.log.delivery(id, &workspace).await.unwrap().unwrap();
        assert_eq!((record.status, record.attempts), (status, 1));
        assert_eq!(record.first_attempt_at.is_none(), reason.is_some());
        let attempts = backend.log.attempts(id, &workspace).await.unwrap().unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].attempt.was_made(), reason.is_none());
        let error = attempts[0].attempt.error.as_deref().unwrap_or_default();
        assert!(error.starts_with(reason.unwrap_or_default()), "{error}");
    }
}

#[tokio::test]
async fn nul_in_an_error_is_replaced_as_in_a_body() {
    let backend = backend().await;
    let line = json!({
        "id": "del_1", "endpointId": "ep_1", "status": "failed", "createdAt": "2026-01-01T00:00:00Z",
        "attempts": [{ "errorMessage": "a\0b", "responseBody": "c\0d", "createdAt": "2026-01-01T00:00:01Z" }],
    });
    assert_eq!(imported(&backend, [line]).await.changed, 1);
    let workspace = WorkspaceId::new("ws_shop").unwrap();
    let id = "del_1".parse().unwrap();
    let attempts = backend.log.attempts(id, &workspace).await.unwrap().unwrap();
    assert_eq!(attempts[0].attempt.error.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(
        attempts[0].attempt.response_body.as_deref(),
        Some("c\u{fffd}d")
    );
}

#[test]
fn counts_read_as_a_sentence() {
    for (changed, unchanged, sentence) in [
        (0, 0, "nothing changed: the file has no deliveries"),
        (0, 1, "nothing changed: the delivery is recorded already"),
        (
            0,
            3,
            "nothing changed: all 3 deliveries are recorded already",
        ),
        (1, 0, "1 delivery imported"),
        (2, 0, "2 deliveries imported"),
        (2, 1, "2 deliveries imported, 1 recorded already"),
    ] {
        assert_eq!(Imported { changed, unchanged }.to_string(), sentence);
    }
}
