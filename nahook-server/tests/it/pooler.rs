//! The server behind PgBouncer in transaction mode, whose only session it shares with another program.

use nahook_testserver::{PgBouncer, PostgresServer};

use crate::support::manifest::{EVENT_TYPE, SECRET, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;
use crate::support::{SOON, until};

/// Sessions of the database that have listened: the store's heartbeat is the latest statement of those alone.
const LISTENERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND (query = 'SELECT 1' OR query LIKE 'LISTEN%')";

#[tokio::test(flavor = "multi_thread")]
async fn server_delivers_behind_a_pooler_and_leaves_its_session_alone() {
    let postgres = PostgresServer::shared();
    let direct = postgres.create_database();
    let pooler = PgBouncer::start(postgres, 1, "");
    let url = pooler.url(&direct);
    let other = |query: &str| postgres.query(&url, query);
    other("CREATE TABLE public.event (id integer)");
    let before = other("SHOW search_path");

    let receiver = Receiver::start().await;
    let endpoints = ["ep_1", "ep_2"].map(|id| endpoint(id, &receiver.url(&format!("/{id}"))));
    let settings = [
        "--postgres-direct-url",
        &direct,
        "--postgres-connections",
        "3",
    ];
    let [server] = Server::sharing_with(&url, &shop(endpoints.into()), &settings).await;
    until(SOON, "it listens at the server itself", || {
        (postgres.query(&direct, LISTENERS) == "1").then_some(())
    })
    .await;

    let mut promised = Vec::new();
    for _ in 0..10 {
        let answer = server.api().trigger(EVENT_TYPE, "{}").await;
        promised.extend(answer.delivery_ids());
        assert_eq!(other("SHOW search_path"), before);
        // Ours has more columns, and rows.
        assert_eq!(other("SELECT count(id) FROM event"), "0");
    }
    let mut arrived = Vec::new();
    for arrival in receiver.exactly(20).await {
        arrival.assert_signed(SECRET);
        arrived.push(arrival.header("nahook-delivery-id").to_owned());
    }
    promised.sort();
    arrived.sort();
    assert_eq!(arrived, promised);
    assert_eq!(server.api().get("/readyz").await.status, 200);
    assert_eq!(other("SHOW search_path"), before);

    let stderr = &server.process.stderr;
    let fewer = ["fewer connections are allowed", "\"allowed\":3"];
    assert_eq!(stderr.count(&fewer), 1, "the bound is the setting's");
}
