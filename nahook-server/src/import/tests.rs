use std::ops::Range;
use std::path::Path;

use nahook_control::{ApplyMode, Catalog as _};
use serde_json::json;

use super::{Imported, import};
use crate::backend::{Backend, StoreUrl};

async fn backend() -> Backend {
    let backend = Backend::open_tool(&StoreUrl::Memory).await.unwrap();
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

async fn imported(backend: &Backend, ids: Range<u32>) -> Imported {
    let line = |id| {
        let line = json!({
            "id": format!("del_old_{id}"), "endpointId": "ep_1", "status": "failed",
            "createdAt": "2026-01-01T00:00:00Z",
            "attempts": [{ "responseStatusCode": 500, "createdAt": "2026-01-01T00:00:01Z" }],
        });
        (1, serde_json::from_value(line).unwrap())
    };
    let done = import(backend, None, Path::new("history"), ids.map(line).collect()).await;
    done.unwrap()
}

#[tokio::test]
async fn import_counts_what_it_changes() {
    let backend = backend().await;
    let count = |changed, unchanged| Imported { changed, unchanged };
    assert_eq!(imported(&backend, 0..700).await, count(700, 0));
    assert_eq!(imported(&backend, 0..700).await, count(0, 700));
    assert_eq!(imported(&backend, 699..702).await, count(2, 1));
    assert_eq!(imported(&backend, 0..0).await, count(0, 0));
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
