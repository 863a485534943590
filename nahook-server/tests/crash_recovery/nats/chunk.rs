//! A server in the middle of a record: what is noted as settled is not attempted again, what is not is.

use std::collections::HashMap;
use std::time::Duration;

use nahook_testserver::{NatsOptions, NatsServer};

use super::nats_rounds;
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, Server};

const QUICK: usize = 60;
const SLOW: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_of_a_record_repeats_only_what_was_under_way() {
    let newest = NatsOptions::new();
    for (what, options) in [
        ("default sync", newest.clone()),
        ("sync always", newest.sync_always()),
    ] {
        killed_in_the_middle_of_a_record(what, &options.start()).await;
    }
}

async fn killed_in_the_middle_of_a_record(what: &str, nats: &NatsServer) {
    let (rounds, mut random) = nats_rounds(1);
    let receiver = Receiver::start().await;
    let ids = (0..QUICK + SLOW).map(|n| format!("ep_{n}"));
    let endpoints = ids.map(|id| endpoint(&id, &receiver.url(&format!("/{id}"))));
    let queue = nats.url();
    let settings = [&ALLOW_LOOPBACK[..], &["--queue", &queue]].concat();
    let mut server = Server::with_settings(&shop(endpoints.collect()), &settings).await;
    let mut repeated = 0;
    for round in 0..rounds {
        for n in QUICK..QUICK + SLOW {
            let answers = [Reply::Hang, Reply::Status(200)];
            receiver.reply(&format!("/ep_{n}"), answers);
        }
        let before = receiver.len();
        let payload = format!("{{\"marker\":{round}}}");
        let told = server
            .api()
            .trigger(EVENT_TYPE, &payload)
            .await
            .delivery_ids();
        assert_eq!(told.len(), QUICK + SLOW);
        // The slow ones are under way for good; the quick ones are settled and noted in a moment.
        receiver.wait_for(before + QUICK + SLOW).await;
        tokio::time::sleep(Duration::from_secs(2) + random.millis(0..500)).await;
        server.process.kill();
        server.start_again().await;
        receiver.wait_for(before + QUICK + SLOW + SLOW).await;
        let arrivals = receiver.exactly(before + QUICK + SLOW + SLOW).await;
        let mut times: HashMap<&str, usize> = HashMap::new();
        for arrival in &arrivals[before..] {
            *times
                .entry(arrival.header("nahook-delivery-id"))
                .or_default() += 1;
        }
        for (n, id) in told.iter().enumerate() {
            let expected = if n < QUICK { 1 } else { 2 };
            assert_eq!(times.get(id.as_str()), Some(&expected), "{id}, the {n}th");
        }
        repeated += SLOW;
    }
    println!(
        "{what} killed in the middle of a record: {rounds} rounds, {} deliveries of which {} were settled before, \
         {repeated} repeated, all of them under way, lost=0",
        rounds * (QUICK + SLOW) as u64,
        rounds * QUICK as u64
    );
}
