//! Starting, stopping and what is shown of it.

use nahook_testserver::PostgresServer;

use super::two;
use crate::support::manifest::{EVENT_TYPE, KEY, SECRET, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, announced_address, operations_address};
use crate::support::shell::shell;
use crate::support::{SOON, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_first_starts_at_once_make_one_workspace() {
    let server = PostgresServer::shared();
    let url = server.create_database();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", &url];
    let mut processes = [(); 2].map(|()| Nahook::start(dir.path(), &arguments));
    for process in &mut processes {
        announced_address(process).await;
    }
    let welcome = |process: &Nahook| process.stdout.find("curl -X POST").is_some();
    let is_shown = || processes.iter().any(welcome).then_some(());
    until(SOON, "one shows its key", is_shown).await;
    let rows =
        "SELECT (SELECT count(*) FROM nahook.workspace), (SELECT count(*) FROM nahook.api_key),
        (SELECT count(*) FROM nahook.subscription)";
    assert_eq!(server.query(&url, rows), "1|1|0");
    let welcomes = processes.iter().filter(|process| welcome(process));
    assert_eq!(welcomes.count(), 1, "who made it shows it, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_setting_is_all_that_a_database_needs() {
    let receiver = Receiver::start().await;
    let url = PostgresServer::shared().create_database();
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0";
    let arguments = [
        "serve",
        "--listen",
        any,
        "--operations-listen",
        any,
        "--store",
        &url,
    ];
    let mut process = Nahook::start(dir.path(), &[&arguments[..], &ALLOW_LOOPBACK].concat());
    let address = announced_address(&mut process).await;
    // The first start's own line works; its sample endpoints are left out, since they would be one server's alone.
    let line = process.line("curl -X POST").await;
    let (status, body) = shell(dir.path(), &line).await;
    assert_eq!((status, body.matches("\"del_").count()), (202, 0), "{body}");

    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/ep_1"))]);
    std::fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
    let applied = Nahook::run(dir.path(), &["apply", "manifest.json", "--store", &url]).await;
    assert!(applied.success, "{}", applied.stderr);
    let payload = ["--payload", "{\"item\":\"book\"}"];
    let triggered = ["trigger", EVENT_TYPE, "--api-key", KEY, "--url"];
    let server = format!("http://{address}");
    let triggered = [&triggered[..], &[&server], &payload].concat();
    let first = Nahook::run(dir.path(), &triggered).await;
    assert!(first.success, "{}", first.stderr);
    let arrivals = receiver.exactly(1).await;
    assert_eq!(arrivals[0].body, "{\"item\":\"book\"}");
    arrivals[0].assert_signed(SECRET);
    // Nothing is kept beside the database but the first start's key and token, until somebody has taken them.
    std::fs::remove_file(dir.path().join("nahook-data/first-start.env")).unwrap();
    std::fs::remove_dir(dir.path().join("nahook-data")).unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| name == "manifest.json" || name == ".curlrc"),
        "{names:?}"
    );

    // The second time the caches answer.
    let again = Nahook::run(dir.path(), &triggered).await;
    assert!(again.success, "{}", again.stderr);
    let operations = operations_address(&process.stderr).await;
    let (_, metrics) = shell(dir.path(), &format!("curl http://{operations}/metrics")).await;
    for name in [
        "nahook_cache_lookups_total",
        "nahook_cache_hit_age_seconds",
        "nahook_cache_invalidations_total",
        "nahook_postgres_publish_group",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_may_be_stopped_and_the_other_goes_on() {
    let receiver = Receiver::start().await;
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/ep_1"))]);
    let [mut one, other] = two(&manifest).await;
    let mut told = Vec::new();
    for number in 0..20 {
        let server = if number % 2 == 0 { &one } else { &other };
        told.extend(server.trigger("{}").await);
    }
    one.process.terminate();
    assert!(one.process.exit(SOON).await.success());
    for _ in 0..10 {
        told.extend(other.trigger("{}").await);
    }
    assert_eq!(told.len(), 30);
    receiver.exactly(30).await;
}
