//! Statements that idle servers send to the database.

use std::time::{Duration, Instant};

use nahook_testserver::PostgresServer;

use crate::support::manifest::{endpoint, shop};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::Server;

/// After how many seconds servers look without a reason; see `nahook-postgres`.
const LOOK_EVERY: u64 = 5;

/// Returns the number of statements that claim deliveries in the server's log.
fn claims(server: &PostgresServer) -> usize {
    server.log().matches("WITH RECURSIVE limits").count()
}

/// Statements are counted, not milliseconds: what is idle asks for deliveries every five seconds, even while a retry waits for
/// its time, and what is new is claimed without waiting for that.
#[tokio::test(flavor = "multi_thread")]
async fn idle_servers_ask_seldom_and_new_work_is_claimed_without_being_asked_for() {
    let receiver = Receiver::start().await;
    receiver.reply(
        "/later",
        [Reply::Header(503, "retry-after", "600".to_owned())],
    );
    let database = PostgresServer::start_with("log_statement = 'all'", &[]);
    let manifest = shop(vec![
        endpoint("ep_later", &receiver.url("/later")),
        endpoint("ep_now", &receiver.url("/now")),
    ]);
    let [one, other]: [Server; 2] = Server::sharing(&database.create_database(), &manifest).await;
    one.trigger("{}").await;
    receiver.wait_for(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let (before, began) = (claims(&database), Instant::now());
    tokio::time::sleep(Duration::from_secs(12)).await;
    let idle = claims(&database) - before;
    // Each of the two, and one more for where the seconds begin.
    let most = 2 * (began.elapsed().as_secs() / LOOK_EVERY + 1);
    assert!(
        u64::try_from(idle).unwrap() <= most,
        "{idle} claims, and not {most}, while nothing was to be done"
    );

    // Ten triggers, each after the last has arrived: found by looking, they would take as many looks.
    let began = Instant::now();
    for number in 0..10 {
        let server = if number % 2 == 0 { &one } else { &other };
        server.trigger("{}").await;
        receiver.wait_at("/now", number + 2).await;
    }
    let looks = began.elapsed().as_secs() / LOOK_EVERY;
    assert!(looks < 10, "{looks} looks may have found them all");
}
