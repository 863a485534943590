//! Round trips to the server, counted in its own log.

use nahook_control::{ApplyMode, Catalog};
use nahook_core::id::WorkspaceId;
use nahook_core::{FanOut, NewEvent, Receipt};
use nahook_postgres::PostgresStore;
use nahook_testkit::declare::{Workspace, event_type_name, metadata, payload, workspace_id};
use nahook_testserver::PostgresServer;

use crate::support::{client, connect, settings, until};

const WIDTHS: [usize; 4] = [1, 10, 100, 1_000];

fn event_type(width: usize) -> String {
    format!("order.to{width}")
}

/// A store on a server of its own that logs every statement, with an event type for each width.
async fn logged() -> (PostgresServer, String, PostgresStore) {
    let server = PostgresServer::start_with("log_statement = 'all'", &[]);
    let url = server.create_database();
    let store = connect(&url, settings(2)).await;
    let mut shop = Workspace::new("ws_shop");
    for width in WIDTHS {
        shop = shop.event_type(&event_type(width));
    }
    for number in 0..WIDTHS[3] {
        let wider = WIDTHS.iter().filter(|width| number < **width);
        let types: Vec<_> = wider.map(|width| event_type(*width)).collect();
        let types: Vec<_> = types.iter().map(String::as_str).collect();
        shop = shop.endpoint(&format!("ep_{number}"), &types);
    }
    store
        .apply(&shop.manifest(), ApplyMode::Commit)
        .await
        .unwrap();
    (server, url, store)
}

fn event(width: usize) -> NewEvent {
    NewEvent {
        event_type: event_type_name(&event_type(width)),
        payload: payload("{}"),
        metadata: metadata(&[]),
    }
}

fn shop() -> WorkspaceId {
    workspace_id("ws_shop")
}

/// The statements since the log was that long, without those of the connection that listens.
fn statements(server: &PostgresServer, before: usize) -> Vec<String> {
    let log = server.log();
    let mut lines = log[before..].lines();
    let asked = std::iter::from_fn(|| {
        loop {
            let Some((_, said)) = lines.next()?.split_once("LOG:  ") else {
                continue;
            };
            let asked = said.strip_prefix("statement: ").or_else(|| {
                let (_, statement) = said.strip_prefix("execute ")?.split_once(':')?;
                Some(statement)
            });
            // Many of ours begin on a line of their own.
            match asked {
                Some(asked) if asked.trim().is_empty() => return lines.next(),
                Some(asked) => return Some(asked),
                None => {}
            }
        }
    });
    asked
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| statement != "SELECT 1" && !statement.starts_with("NOTIFY"))
        .collect()
}

fn assert_taken(receipt: &Receipt, width: usize) {
    assert_eq!(receipt.delivery_ids().count(), width);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_trigger_is_one_statement_whatever_its_width() {
    let (server, _, store) = logged().await;
    let engine = FanOut::new(store.clone(), store.clone());
    for width in WIDTHS {
        // Once the connection that hears of changes is there, what is looked up is kept.
        until("the cache answers", || async {
            let before = server.log().len();
            let receipt = engine.trigger(event(width), shop()).await.unwrap();
            assert_taken(&receipt, width);
            statements(&server, before).len() == 1
        })
        .await;
        let before = server.log().len();
        let receipt = engine.trigger(event(width), shop()).await.unwrap();
        assert_taken(&receipt, width);
        let asked = statements(&server, before);
        assert_eq!(asked.len(), 1, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_trigger_is_two_statements_whatever_its_width() {
    let (server, url, store) = logged().await;
    store.close().await.unwrap();
    let mut asking = settings(1);
    asking.cache_len_max = 0;
    let store = connect(&url, asking).await;
    let engine = FanOut::new(store.clone(), store.clone());
    // The first one also makes the connections, and finds the endpoints' rows, which they keep for good.
    engine.trigger(event(WIDTHS[3]), shop()).await.unwrap();
    for width in WIDTHS {
        let before = server.log().len();
        let receipt = engine.trigger(event(width), shop()).await.unwrap();
        assert_taken(&receipt, width);
        let asked = statements(&server, before);
        assert_eq!(asked.len(), 2, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_in_a_transaction_is_one_statement_within_a_savepoint() {
    let (server, url, store) = logged().await;
    let mut client = client(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    for width in WIDTHS {
        store
            .trigger_in(&mut transaction, &event(width), shop())
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    for width in WIDTHS {
        let mut transaction = client.transaction().await.unwrap();
        let before = server.log().len();
        let receipt = store
            .trigger_in(&mut transaction, &event(width), shop())
            .await;
        assert_taken(&receipt.unwrap(), width);
        let mut asked = statements(&server, before);
        transaction.commit().await.unwrap();
        // Where nothing was kept yet, the store has looked up by itself.
        asked.retain(|statement| !statement.starts_with("SELECT t.id"));
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(asked[0].starts_with("SAVEPOINT"), "{asked:?}");
        assert!(asked[1].contains(".publish("), "{asked:?}");
        assert!(asked[2].starts_with("RELEASE"), "{asked:?}");
    }
}
