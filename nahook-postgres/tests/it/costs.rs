//! Rows that each operation of management reads, in a small workspace and in a large one.

use std::collections::BTreeMap;

use nahook_control::{ApplyMode, Catalog, Management};
use nahook_testkit::costs;
use nahook_testserver::PostgresServer;

use crate::plans::SETTINGS;
use crate::plans::explained::Explained;
use crate::support::{connect, settings};

/// Operations that read more than they name. One that is mended must not come back.
const KNOWN: &[&str] = &[
    // There is no index of endpoints by environment, and publications are scanned where one environment has nearly all.
    "delete_environment",
];

/// Rows that each operation reads, by its name.
async fn measured(server: &PostgresServer, rows: usize) -> BTreeMap<&'static str, u64> {
    let url = server.create_database();
    let store = connect(&url, settings(1)).await;
    let manifest = costs::workspace_with(rows);
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    store.close().await.unwrap();
    server.query(&url, "VACUUM ANALYZE");
    // From here on whoever connects is explained.
    let name = server.query(&url, "SELECT current_database()");
    let explain = format!("ALTER DATABASE {name} SET auto_explain.log_min_duration = 0");
    server.query(&url, &explain);
    let mut explained = settings(1);
    explained.retention_interval = std::time::Duration::ZERO;
    let store = connect(&url, explained).await;
    let read = || {
        let explained = Explained::all(&server.log());
        explained.iter().map(Explained::rows_read).sum()
    };
    let costs = costs::costs(&Management::new(store.clone()), read).await;
    store.close().await.unwrap();
    costs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_reads_more_rows_in_a_large_workspace() {
    let server = PostgresServer::start_with(SETTINGS, &[]);
    let small = measured(&server, 10).await;
    let large = measured(&server, 3_000).await;
    assert_eq!(small.len(), large.len());
    let mut more = Vec::new();
    for ((operation, small), large) in small.iter().zip(large.values()) {
        println!("{operation}: {small} and {large} rows");
        let is_more = *large > 2 * small + 10;
        if is_more != KNOWN.contains(operation) {
            more.push(format!("{operation}: {small} and {large} rows"));
        }
    }
    assert!(large.values().sum::<u64>() > 0, "nothing is explained");
    assert!(more.is_empty(), "{more:#?}");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../nahook-control/src/operations"
    );
    costs::assert_complete(&large, source.as_ref());
}
