//! The published clients' own suites, unmodified, against the real program on each store.
//!
//! Without their settings the suites skip and are content; that they did run is read off what they print and off what the
//! server was asked.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod fixture;
mod python;
mod rust;

use std::process::{Command, Output};

use nahook_testserver::PostgresServer;

use self::fixture::Fixture;
use self::support::server::{ALLOW_LOOPBACK, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_pass_on_a_file() {
    let fixture = Fixture::new().await;
    let server = Server::with_settings(&fixture.manifest, &ALLOW_LOOPBACK).await;
    pass(&fixture, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_pass_on_postgres() {
    let fixture = Fixture::new().await;
    let url = PostgresServer::shared().create_database();
    let [server] = Server::sharing(&url, &fixture.manifest).await;
    pass(&fixture, &server).await;
}

async fn pass(fixture: &Fixture, server: &Server) {
    fixture.import(server).await;
    let before = fixture::asked(server).await;
    // Its lists want the fixture's deliveries to be the newest, so whatever sends comes later.
    python::passes(server, "tests/management").await;
    let managed = fixture::asked(server).await;
    assert!(managed > before + 40, "{before} {managed}");
    python::passes(server, "tests/integration").await;
    let sent = fixture::asked(server).await;
    assert!(sent > managed + 10, "{managed} {sent}");
    rust::passes(server).await;
    let in_all = fixture::asked(server).await;
    assert!(in_all > sent + 60, "{sent} {in_all}");
}

/// Runs the command with what the suites want to know, and answers what it printed.
async fn run(mut command: Command, server: &Server) -> String {
    for (name, value) in fixture::settings(server) {
        command.env(name, value);
    }
    let ended = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.unwrap().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    let text = format!("{stdout}\n{stderr}");
    assert!(status.success(), "{text}");
    text
}
