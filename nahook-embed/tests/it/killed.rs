//! An app that is killed at random while it takes orders and delivers their webhooks, all on one file.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nahook_embed::Hooks;
use nahook_testkit::run;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::receiver::Receiver;

/// The file of a child, which is this very test.
const FILE: &str = "NAHOOK_KILLED_APP_FILE";

/// Number of times that the app is killed.
fn rounds() -> u64 {
    let rounds = env::var("NAHOOK_KILLED_APP_ROUNDS");
    rounds.map_or(6, |rounds| rounds.parse().unwrap())
}

async fn open(file: &Path) -> (Hooks, Connection) {
    let app = Connection::open(file).unwrap();
    // As many apps do: the store flushes before it sends.
    app.execute_batch("PRAGMA synchronous = NORMAL; CREATE TABLE IF NOT EXISTS orders (id TEXT)")
        .unwrap();
    let url = format!("sqlite://{}", file.display());
    let hooks = Hooks::builder(&url).allow_endpoint_range("127.0.0.0/8".parse().unwrap());
    (hooks.open().await.unwrap(), app)
}

/// Takes orders until it is killed, when it is started as a child; passes otherwise.
#[test]
fn app_takes_orders_until_it_is_killed() {
    let Ok(file) = env::var(FILE) else {
        return;
    };
    run(async {
        let (hooks, mut app) = open(file.as_ref()).await;
        let running = hooks.clone();
        tokio::spawn(async move { running.run(std::future::pending()).await });
        for n in 0_u64.. {
            let id = format!("{}-{n}", std::process::id());
            let mut tx = app.transaction().unwrap();
            tx.execute("INSERT INTO orders VALUES (?1)", [&id]).unwrap();
            hooks
                .trigger_in(&mut tx, "order.paid", &json!({ "id": id }))
                .unwrap();
            if n % 3 == 1 {
                tx.rollback().unwrap();
            } else {
                tx.commit().unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
}

fn start(file: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["killed::app_takes_orders_until_it_is_killed", "--exact"])
        .env(FILE, file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn order(receiver: &mut Receiver) -> String {
    let (_, body) = receiver.next().await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

#[test]
fn nothing_is_lost_and_nothing_is_sent_after_a_roll_back() {
    run(async {
        let mut receiver = Receiver::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        let (hooks, app) = open(&file).await;
        let endpoint = hooks.create_endpoint(&receiver.url).on("order.paid");
        endpoint.await.unwrap();
        hooks.close().await.unwrap();
        let mut seen = BTreeSet::new();
        for round in 0..rounds() {
            let mut child = start(&file);
            // Whatever the machine's speed: it has begun to deliver. Then another moment each time.
            let own = format!("{}-", child.id());
            while !seen.iter().any(|id: &String| id.starts_with(&own)) {
                seen.insert(order(&mut receiver).await);
            }
            tokio::time::sleep(Duration::from_micros(round * 7_919 % 20_000)).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let committed: BTreeSet<String> = app
            .prepare("SELECT id FROM orders")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let (hooks, _app) = open(&file).await;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = hooks.clone();
        let running = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            running.run(stopped).await;
        });
        while !seen.is_superset(&committed) {
            seen.insert(order(&mut receiver).await);
        }
        drop(stop);
        running.await.unwrap();
        hooks.close().await.unwrap();
        assert_eq!(seen, committed);
    });
}
