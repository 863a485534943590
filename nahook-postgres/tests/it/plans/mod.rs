//! The plans of the statements that the store runs while triggers arrive and deliveries go out, with full tables: as the
//! server reports them (`auto_explain`, which is `EXPLAIN (ANALYZE, BUFFERS)` of what is really run), so that none can be
//! forgotten, those inside functions included.
//!
//! This is also what makes `docs/query-plans.md`; it says how. `NAHOOK_PLANS_DELIVERIES` and `NAHOOK_PLANS_SUBSCRIPTIONS`
//! choose how full the tables are, and `NAHOOK_PLANS_DOCUMENT` where to write.

mod document;
pub(crate) mod explained;
mod pages;
mod tables;
mod tour;

use nahook_testserver::PostgresServer;

use self::explained::Explained;

/// Every statement is explained, but only where the database says so.
pub(crate) const SETTINGS: &str = "
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = -1
auto_explain.log_analyze = on
auto_explain.log_buffers = on
auto_explain.log_nested_statements = on
auto_explain.log_parameter_max_length = 0
";

fn from_env(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_goes_by_an_index_and_touches_little() {
    let deliveries = from_env("NAHOOK_PLANS_DELIVERIES", 50_000);
    let subscriptions = from_env("NAHOOK_PLANS_SUBSCRIPTIONS", 10_000);
    let server = PostgresServer::start_with(SETTINGS, &[]);
    let url = server.create_database();
    let size = tables::fill(&server, &url, deliveries, subscriptions).await;
    let stops = tour::take(&server, &url).await;
    if let Some(path) = std::env::var_os("NAHOOK_PLANS_DOCUMENT") {
        std::fs::write(path, document::written(&server, &size, &stops)).unwrap();
    }
    let mut problems = Vec::new();
    for stop in &stops {
        assert!(
            !stop.explained.is_empty(),
            "{}: nothing is explained",
            stop.title
        );
        let blocks: u64 = stop.explained.iter().map(Explained::blocks).sum();
        let rows = stop.explained.iter().map(Explained::rows).max().unwrap();
        let (blocks_max, rows_max) = (stop.blocks_max, stop.rows_max);
        println!(
            "{}: {blocks} blocks of {blocks_max}, {rows} rows of {rows_max}",
            stop.title
        );
        let is_scan = |explained: &Explained| explained.plan().contains("Seq Scan");
        if stop.explained.iter().any(is_scan) || blocks > blocks_max || rows > rows_max {
            let plans: Vec<_> = stop.explained.iter().map(Explained::to_string).collect();
            problems.push(format!("{}\n{}", stop.title, plans.join("\n\n")));
        }
    }
    assert!(
        problems.is_empty(),
        "sequential scans, or more blocks or rows than what is asked for explains:\n{}",
        problems.join("\n\n")
    );
}
