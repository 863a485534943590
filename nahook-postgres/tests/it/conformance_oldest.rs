//! The kit's clauses once more: on Postgres 13, with a single connection in the pool and a single writer.

use nahook_testkit::store_conformance;
use nahook_testserver::PostgresServer;

use crate::support::{PostgresHarness, client};

store_conformance!(PostgresHarness<1>);

#[tokio::test]
async fn the_version_is_the_oldest_that_is_supported() {
    let url = PostgresServer::shared_oldest().create_database();
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let row = client(&url).await.query_one(version, &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 13);
}
