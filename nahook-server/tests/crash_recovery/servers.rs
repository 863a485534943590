//! Either of two servers that share a database, and now and then both.

use std::time::{Duration, Instant};

use nahook_testserver::PostgresServer;

use super::account::{Counts, Outage};
use super::database::{check, settled};
use super::load::{Fate, Load, manifest};
use super::rounds;
use super::support::receiver::Receiver;
use super::support::server::Server;

const ROUNDS: u64 = 10;
/// Deliveries in a process's hands are taken over once its beat has stood still for three looks, a second apart. It may have sent a request
/// up to a beat later, or more on a busy machine.
const STANDS_STILL: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_either_answered_is_what_is_delivered() {
    let (rounds, mut random) = rounds("NAHOOK_CRASH_SERVER_ROUNDS", ROUNDS);
    let receiver = Receiver::start().await;
    let database = PostgresServer::start();
    let url = database.create_database();
    let mut servers: [Server; 2] = Server::sharing(&url, &manifest(&receiver)).await;
    let both = |servers: &[Server; 2]| servers.iter().map(|server| server.address).collect();
    let load = Load::start(both(&servers), &mut random);

    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(50..600)).await;
        load.until(1, Fate::is_whole).await;
        let from = Instant::now();
        let one = usize::from(random.next().is_multiple_of(2));
        servers[one].process.kill();
        load.ask(vec![servers[1 - one].address]);
        if random.next().is_multiple_of(5) {
            servers[1 - one].process.kill();
            load.ask(vec![]);
            servers[1 - one].start_again().await;
            load.ask(vec![servers[1 - one].address]);
        }
        // Sometimes the next process does not even get to listen.
        while random.next().is_multiple_of(4) {
            servers[one].launch_again();
            tokio::time::sleep(random.millis(1..150)).await;
            servers[one].process.kill();
        }
        servers[one].start_again().await;
        outages.push(Outage {
            from,
            to: Instant::now(),
        });
        load.ask(both(&servers));
    }
    let told = load.end().await;

    settled(&database, &url).await;
    let counts = Counts::of(&told, &receiver.arrivals(), |first, second| {
        let explains = |outage: &Outage| outage.is_between(first, second, Duration::ZERO);
        // The receiver notes a request some time after it was sent.
        second.at - first.at > STANDS_STILL && outages.iter().any(explains)
    });
    println!("one of two servers killed: {rounds} rounds, {counts}");
    check(&database, &url, &counts);
}
