//! Either of two servers that share a database and a queue on NATS, while it takes events in and delivers.

use std::time::Instant;

use nahook_testserver::{NatsServer, PostgresServer};

use super::{judged, nats_rounds, settled};
use crate::account::Outage;
use crate::load::{Fate, Load, manifest};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_either_answered_is_what_is_delivered_over_nats() {
    let (rounds, mut random) = nats_rounds(2);
    let receiver = Receiver::start().await;
    let (database, nats) = (PostgresServer::start(), NatsServer::start());
    let (url, queue) = (database.create_database(), nats.url());
    let mut servers: [Server; 2] =
        Server::sharing_with(&url, &manifest(&receiver), &["--queue", &queue]).await;
    let both = |servers: &[Server; 2]| servers.iter().map(|server| server.address).collect();
    let load = Load::start(both(&servers), &mut random);
    let mut outages = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(random.millis(300..1_200)).await;
        load.until(1, Fate::is_whole).await;
        let from = Instant::now();
        let one = usize::from(random.next().is_multiple_of(2));
        servers[one].process.kill();
        load.ask(vec![servers[1 - one].address]);
        tokio::time::sleep(random.millis(0..500)).await;
        servers[one].start_again().await;
        let to = Instant::now();
        outages.push(Outage { from, to });
        load.ask(both(&servers));
    }
    let told = load.end().await;
    let arrivals = settled(&nats, &receiver).await;
    judged("a server over NATS", rounds, &told, &arrivals, &outages);
}
