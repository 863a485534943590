//! The Postgres server: that what was killed starts again.
#![expect(clippy::unwrap_used, reason = "what a test calls fails like a test")]

use std::iter;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use nahook_testserver::PostgresServer;

/// Port of a URL of the server.
fn port(url: &str) -> u16 {
    let (_, rest) = url.split_once("127.0.0.1:").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn killed_server_starts_again_once_its_port_is_free() {
    let server = PostgresServer::start();
    let url = server.create_database();
    server.execute("test_0", "CREATE TABLE kept (n int)");
    server.kill();
    let taken = TcpListener::bind(("127.0.0.1", port(&url))).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !server.log().contains("Address already in use") {
                thread::sleep(Duration::from_millis(5));
            }
            drop(taken);
        });
        server.start_again();
    });
    assert_eq!(server.query(&url, "SELECT count(*) FROM kept"), "0");
}

#[test]
fn killed_server_starts_again_whatever_it_was_doing() {
    let server = PostgresServer::start();
    let url = server.create_database();
    for _ in 0..5 {
        thread::scope(|scope| {
            let busy: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| server.try_query(&url, "SELECT pg_sleep(600)")))
                .collect();
            let running =
                "SELECT count(*) >= 8 FROM pg_stat_activity WHERE query LIKE '%sleep(600)'";
            while server.query(&url, running) != "t" {
                thread::sleep(Duration::from_millis(5));
            }
            server.kill();
            for client in busy {
                assert!(client.join().unwrap().is_err());
            }
        });
        server.start_again();
    }
}

/// On a thread of its own, as a test is.
fn database_with(server: &PostgresServer, statements: &str) -> String {
    let make = || {
        let url = server.create_database();
        assert_eq!(server.query(&url, "SELECT to_regnamespace('nahook')"), "");
        server.query(&url, statements);
        url
    };
    thread::scope(|scope| scope.spawn(make).join()).unwrap()
}

#[test]
fn databases_of_tests_that_have_ended_are_emptied() {
    let server = PostgresServer::shared();
    let first = database_with(server, "CREATE SCHEMA nahook");
    // Not while a session of it is just ending.
    let table = "CREATE SCHEMA nahook CREATE TABLE kept (n int)";
    let mut later = iter::repeat_with(|| database_with(server, table)).take(1_000);
    assert!(later.any(|url| url == first), "it was never used again");
    let setting = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
    END $$";
    for change in [
        "CREATE TABLE public.kept (n int)",
        "CREATE SCHEMA other",
        setting,
    ] {
        let before = database_with(server, change);
        let mut later = iter::repeat_with(|| database_with(server, "SELECT")).take(10);
        assert!(later.all(|url| url != before), "{change}");
    }
}
