//! Commands whose standard output cannot be written.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use super::fault::Fault;
use crate::support::api::Api;
use crate::support::manifest::{KEY, endpoint, shop};
use crate::support::process::{Ended, Nahook};
use crate::support::receiver::Receiver;
use crate::support::server::{ALLOW_LOOPBACK, Server, apply};
use crate::support::shell::shell;
use crate::support::{SOON, until};

/// Outputs that take nothing. One that stalls makes a command wait for its reader.
const REFUSING: [Fault; 4] = [
    Fault::ReaderGone,
    Fault::DiskFull,
    Fault::NotWritable,
    Fault::Closed,
];

const UNSHOWN: &str = "could not be shown";

async fn run_onto(dir: &Path, arguments: &[&str], fault: Fault) -> (Option<i32>, String) {
    let (stdout, _reader) = fault.output();
    let mut process = Nahook::start_onto(dir, arguments, &[], stdout, Stdio::piped());
    let code = process.exit(SOON).await.code();
    let ended = process.ended(SOON).await;
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    (code, ended.stderr)
}

/// An address that nobody listens on, for a server that cannot say where it does.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn secrets(ended: &Ended, prefix: &str) -> usize {
    assert!(ended.success, "{}", ended.stderr);
    ended.stdout.matches(prefix).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_could_not_be_shown_is_made_the_next_time() {
    for fault in REFUSING {
        let dir = tempfile::tempdir().unwrap();
        assert!(apply(dir.path(), &shop(vec![])).await.success);
        for (kind, prefix) in [("keys", "nhk_"), ("tokens", "nhm_")] {
            let create = [kind, "create", "ci"];
            let (code, said) = run_onto(dir.path(), &create, fault).await;
            assert_eq!(code, Some(1), "{kind}, {fault:?}: {said}");
            assert!(said.contains(UNSHOWN), "{said}");
            let again = Nahook::run(dir.path(), &create).await;
            assert_eq!(secrets(&again, prefix), 1, "{kind}, {fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_whose_secrets_could_not_be_shown_is_applied_the_next_time() {
    let manifest = "[[workspaces]]\nname = 'a'\n[[workspaces.api_keys]]\nname = 'k'\n\
        [[workspaces]]\nname = 'b'\n[[workspaces.api_keys]]\nname = 'k'\n\
        [[workspaces.management_tokens]]\nname = 't'\n";
    for fault in REFUSING {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.toml"), manifest).unwrap();
        let (code, said) = run_onto(dir.path(), &["apply", "m.toml"], fault).await;
        assert_eq!(code, Some(1), "{fault:?}: {said}");
        assert!(said.contains(UNSHOWN), "{said}");
        let again = Nahook::run(dir.path(), &["apply", "m.toml"]).await;
        assert_eq!(secrets(&again, "nhk_"), 2, "{fault:?}: {}", again.stdout);
        assert_eq!(secrets(&again, "nhm_"), 1, "{fault:?}: {}", again.stdout);
        let third = Nahook::run(dir.path(), &["apply", "m.toml"]).await;
        assert_eq!(third.stdout, "0 created, 0 updated, 0 removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_apply_that_nobody_has_read_made_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[[workspaces]]\nname = 'a'\n[[workspaces.api_keys]]\nname = 'k'\n";
    std::fs::write(dir.path().join("m.toml"), manifest).unwrap();
    let (stdout, _reader) = Fault::Stalled.output();
    let arguments = ["apply", "m.toml"];
    let mut process = Nahook::start_onto(dir.path(), &arguments, &[], stdout, Stdio::piped());
    let store = dir.path().join("nahook-data/nahook.db");
    until(SOON, "the store is made", || store.exists().then_some(())).await;
    process.terminate();
    assert!(!process.exit(SOON).await.success());
    let again = Nahook::run(dir.path(), &arguments).await;
    assert_eq!(secrets(&again, "nhk_"), 1, "{}", again.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_start_that_could_not_show_its_key_leaves_that_to_the_next() {
    for fault in [&REFUSING[..], &[Fault::Stalled]].concat() {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address().to_string();
        let serve = ["serve", "--listen", &address];
        let (stdout, _reader) = fault.output();
        let mut process = Nahook::start_onto(dir.path(), &serve, &[], stdout, Stdio::piped());
        let logged = process.stderr.clone();
        if fault == Fault::Stalled {
            // Nothing is logged: it may still be read.
            until(SOON, "it listens", || TcpStream::connect(&address).ok()).await;
            let api = Api::new(address.parse().unwrap(), KEY);
            assert_eq!(api.get("/readyz").await.status, 200);
        } else {
            let said = || logged.find("there is no key yet");
            until(SOON, "the loss is logged", said).await;
        }
        assert!(process.is_running(), "{fault:?}");
        process.terminate();
        assert!(process.exit(SOON).await.success(), "{fault:?}");

        let mut second = Server::start(dir, &[]).await;
        let pasted = second.process.line("curl ").await;
        let shown = second.process.stdout.text();
        assert!(shown.contains("nhk_") && shown.contains("nhm_"), "{shown}");
        let (status, body) = shell(second.dir(), &pasted).await;
        assert_eq!(status, 202, "{body}");
        second.process.terminate();
        assert!(second.process.exit(SOON).await.success());
        second.start_again().await;
        second.api().trigger("order.paid", "{}").await;
        assert!(!second.process.stdout.text().contains("nhk_"), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_answers_and_stops_while_nobody_reads_its_output() {
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    assert!(apply(dir.path(), &manifest).await.success);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = port.to_string();
    let serve = ["serve", "--listen", &address, "--sample", "false"];
    let arguments = [&serve[..], &ALLOW_LOOPBACK].concat();
    let (stdout, _reader) = Fault::Stalled.output();
    let mut process = Nahook::start_onto(dir.path(), &arguments, &[], stdout, Stdio::piped());
    until(SOON, "it listens", || TcpStream::connect(&address).ok()).await;
    let api = Api::new(address.parse().unwrap(), KEY);
    assert_eq!(
        api.trigger("order.paid", "{}").await.delivery_ids().len(),
        1
    );
    receiver.exactly(1).await;
    process.terminate();
    assert!(process.exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_report_an_output_that_fails_and_are_quiet_if_nobody_reads() {
    let server = Server::with(&shop(vec![])).await;
    let url = format!("http://{}", server.address);
    let trigger = ["trigger", "order.paid", "--api-key", KEY, "--url", &url];
    let send = ["send", "ep_1", "--api-key", KEY, "--url", &url];
    std::fs::write(server.dir().join("history"), "").unwrap();
    let commands: [&[&str]; 8] = [
        &["keys", "list"],
        &["tokens", "list", "--workspace", "Shop"],
        &["apply", "manifest.json"],
        &["apply", "manifest.json", "--dry-run"],
        &["import", "history"],
        &trigger,
        &send,
        &["--help"],
    ];
    for command in commands {
        for fault in REFUSING {
            let (code, said) = run_onto(server.dir(), command, fault).await;
            let what = format!("{command:?}, {fault:?}: {code:?} {said}");
            match fault {
                // Without an output the system gives the program one that takes everything.
                Fault::Closed => {}
                // And takes what it does not take for written.
                Fault::NotWritable if command[0] == "--help" => {}
                _ if command[0] == "tokens" => assert!(code == Some(0), "prints nothing: {what}"),
                Fault::ReaderGone => assert!(code == Some(141) && said.is_empty(), "{what}"),
                _ => assert!(
                    code == Some(1) && said.contains("standard output"),
                    "{what}"
                ),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_ends_when_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let listen = ["listen", "--listen", "127.0.0.1:0"];
    let (code, said) = run_onto(dir.path(), &listen, Fault::ReaderGone).await;
    assert_eq!((code, said.as_str()), (Some(141), ""));
    let (code, said) = run_onto(dir.path(), &listen, Fault::DiskFull).await;
    assert!(
        code == Some(1) && said.contains("standard output"),
        "{said}"
    );
    let (code, said) = run_onto(dir.path(), &["demo"], Fault::DiskFull).await;
    assert!(
        code == Some(1) && said.contains("standard output"),
        "{said}"
    );
}
