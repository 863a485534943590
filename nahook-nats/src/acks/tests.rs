//! Records, and a client that answers them in the place of a stream.

use async_nats::header::HeaderMap;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use nahook_testserver::NatsServer;
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::NatsSettings;

const SUBJECT: &str = "records";
const STORED: &str = r#"{"stream":"S","seq":1}"#;
const NO_LEADER: &str = r#"{"error":{"code":503,"err_code":10009}}"#;
/// Far longer than anything takes that ends by itself.
const LONG: Duration = Duration::from_mins(10);
const PATIENCE: Duration = Duration::from_mins(1);

struct Parts {
    server: NatsServer,
    acks: std::sync::Arc<Acks>,
    client: Client,
    records: Subscriber,
}

async fn start() -> Parts {
    let server = NatsServer::start();
    let settings = NatsSettings::default();
    let connection = Connection::open(&server.url(), &settings).await;
    let connection = connection.expect("the server runs");
    let acks = Acks::start(&connection, &settings.supervisor).await;
    let client = async_nats::connect(server.url()).await.expect("it runs");
    let records = client.subscribe(SUBJECT).await.expect("a subscription");
    client.flush().await.expect("the server knows of it");
    Parts {
        server,
        acks: acks.expect("a subscription"),
        client,
        records,
    }
}

fn record() -> Outgoing {
    Outgoing {
        subject: SUBJECT.to_owned(),
        id: Some("id".to_owned()),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
    }
}

impl Parts {
    /// Stores a record for whose sendings there are these answers; none for an empty one. Returns the result, and the records
    /// that came.
    async fn store(mut self, answers: &[&'static str]) -> (bool, Vec<Message>) {
        let acks = std::sync::Arc::clone(&self.acks);
        let storing = tokio::spawn(async move { acks.store(record(), LONG).await });
        let mut came = Vec::new();
        for answer in answers {
            let message = timeout(PATIENCE, self.records.next()).await;
            let message = message.expect("it is sent").expect("the client lives");
            if !answer.is_empty() {
                let reply = message.reply.clone().expect("it asks for an answer");
                let sent = self
                    .client
                    .publish(reply, Bytes::from_static(answer.as_bytes()));
                sent.await.expect("the client lives");
            }
            came.push(message);
        }
        let stored = timeout(PATIENCE, storing).await.expect("it ends");
        (stored.expect("it does not panic"), came)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_nobody_took_is_sent_again_under_its_id() {
    let parts = start().await;
    let began = Instant::now();
    let (stored, came) = parts.store(&[NO_LEADER, NO_LEADER, STORED]).await;
    assert!(stored);
    assert!(began.elapsed() >= Duration::from_millis(200), "not at once");
    for message in came {
        let headers = message.headers.expect("headers");
        let id = headers.get(NATS_MESSAGE_ID).map(ToString::to_string);
        assert_eq!(id.as_deref(), Some("id"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_whose_answer_is_overdue_is_sent_again() {
    let (stored, _) = start().await.store(&["", STORED]).await;
    assert!(stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_of_unclear_fate_is_not_stored() {
    let (stored, _) = start().await.store(&["something else"]).await;
    assert!(!stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_nobody_ever_takes_is_given_up_before_the_patience_ends() {
    let mut parts = start().await;
    parts.records.unsubscribe().await.expect("the client lives");
    parts.client.flush().await.expect("the server knows of it");
    let stored = timeout(PATIENCE, parts.acks.store(record(), LONG)).await;
    assert_eq!(stored.ok(), Some(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_is_refused_without_a_connection() {
    let parts = start().await;
    tokio::task::block_in_place(|| parts.server.kill());
    while parts.acks.connection.is_up() {
        sleep(Duration::from_millis(10)).await;
    }
    let outcome = timeout(PATIENCE, parts.acks.send(record(), None).await).await;
    let refused = Ok(RecordOutcome::Refused(Refusal::Nobody));
    assert_eq!(outcome.expect("at once"), refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_larger_than_the_server_takes_is_refused_as_such() {
    let parts = start().await;
    let large = Outgoing {
        body: Bytes::from(vec![b'x'; parts.acks.max_payload() + 1]),
        ..record()
    };
    let outcome = timeout(PATIENCE, parts.acks.send(large, None).await).await;
    let refused = Ok(RecordOutcome::Refused(Refusal::TooLarge));
    assert_eq!(outcome.expect("at once"), refused);
}
