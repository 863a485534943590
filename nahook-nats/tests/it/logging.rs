//! The log of what the workers settle.

use std::time::Duration;

use futures_util::StreamExt as _;
use nahook_nats::NatsSettings;
use nahook_queue::Next;
use nahook_testkit::run;
use nahook_testserver::NatsServer;
use tokio::time::{Instant, timeout_at};

use crate::support::{connected, lease_some, publish, reader, settle};

const PATIENCE: Duration = Duration::from_mins(1);

/// The server gets the entry first, on the same connection: what is noted as settled is in the log as well.
#[test]
fn settled_delivery_is_in_the_log_before_it_is_noted() {
    run(async {
        let server = NatsServer::start();
        let client = reader::client(&server.url()).await;
        let mut settings = NatsSettings::default();
        settings.log = true;
        let nats = connected(&server.url(), settings).await;
        publish(&nats, 1, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        let mut messages = client.subscribe("nahook.*").await.unwrap();
        client.flush().await.unwrap();
        settle(&nats.queue, &leased, Next::Delivered).await;
        let mut subjects = Vec::new();
        let give_up = Instant::now() + PATIENCE;
        while subjects.len() < 2 {
            let message = timeout_at(give_up, messages.next()).await.unwrap();
            let subject = message.unwrap().subject.to_string();
            // The workers tell each other what they hold.
            if subject != "nahook.workers" {
                subjects.push(subject);
            }
        }
        assert_eq!(subjects, ["nahook.log", "nahook.progress"]);
    });
}
