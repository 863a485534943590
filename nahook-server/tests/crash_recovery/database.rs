//! The database under two servers, which go on.

use std::time::{Duration, Instant};

use nahook_testserver::PostgresServer;
use tokio::task::block_in_place;

use super::account::{Counts, Outage};
use super::load::{Fate, Load, manifest};
use super::rounds;
use super::support::receiver::Receiver;
use super::support::server::Server;

const ROUNDS: u64 = 5;
/// Upper bound on the time until everything is settled: longer than any lease lasts.
const SETTLED_MAX: Duration = Duration::from_mins(3);
/// Time after an outage in which something that was leased before it may be begun: as long as its endpoint may take to
/// look up.
const BEGUN_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_was_answered_outlives_the_database() {
    let (rounds, mut random) = rounds("NAHOOK_CRASH_DATABASE_ROUNDS", ROUNDS);
    let receiver = Receiver::start().await;
    let database = PostgresServer::start();
    let url = database.create_database();
    let mut servers: [Server; 2] = Server::sharing(&url, &manifest(&receiver)).await;
    let addresses = servers.iter().map(|server| server.address).collect();
    let load = Load::start(addresses, &mut random);

    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(300..1_500)).await;
        load.until(1, Fate::is_whole).await;
        let from = Instant::now();
        block_in_place(|| {
            database.kill();
            database.start_again();
        });
        outages.push(Outage {
            from,
            to: Instant::now(),
        });
    }
    let told = load.end().await;
    for server in &mut servers {
        assert!(server.process.is_running(), "a server has given up");
    }

    settled(&database, &url).await;
    let counts = Counts::of(&told, &receiver.arrivals(), |first, second| {
        let explains = |outage: &Outage| outage.is_between(first, second, BEGUN_MAX);
        outages.iter().any(explains)
    });
    println!("database killed: {rounds} rounds, {counts}");
    check(&database, &url, &counts);
}

/// Waits until nothing waits: everything that the queue holds has been attempted, whoever knows of it.
pub(crate) async fn settled(database: &PostgresServer, url: &str) {
    // In rows, and in records.
    let waiting = "SELECT (SELECT count(*) FROM nahook.delivery WHERE due_at IS NOT NULL)
        + (SELECT count(*) FROM nahook.open_deliveries(0, 9223372036854775807))";
    let give_up = Instant::now() + SETTLED_MAX;
    loop {
        let left = block_in_place(|| database.query(url, waiting));
        if left == "0" {
            return;
        }
        assert!(
            Instant::now() < give_up,
            "{left} deliveries are not settled"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Checks the counts, and that the database holds what has arrived and nothing else.
pub(crate) fn check(database: &PostgresServer, url: &str, counts: &Counts) {
    assert_eq!(counts.lost, 0);
    let rows = "SELECT count(*), count(*) FILTER (WHERE status = 2) FROM nahook.delivery";
    let rows = block_in_place(|| database.query(url, rows));
    assert_eq!(rows, format!("{0}|{0}", counts.distinct));
}
