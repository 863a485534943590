//! Connecting: credentials, and streams that are there already.

use std::fs;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nahook_nats::{ConnectError, Credentials, NatsSettings, connect};
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, NatsServer};
use nkeys::KeyPair;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::support::{self, outcomes, publish};

fn with(credentials: Credentials) -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.credentials = credentials;
    settings
}

/// Connects with the right credentials and publishes; with wrong ones and with none it is refused.
async fn expect_credentials(server: &NatsServer, right: Credentials, wrong: Credentials) {
    let nats = connect(&server.url(), with(right)).await.unwrap();
    assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
    for credentials in [wrong, Credentials::None] {
        let refused = connect(&server.url(), with(credentials)).await;
        assert!(
            matches!(refused, Err(ConnectError::Refused(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_user_and_a_password() {
    run(async {
        let server = NatsOptions::new().user("shop", "secret").start();
        let user = |password: &str| Credentials::User("shop".to_owned(), password.to_owned());
        expect_credentials(&server, user("secret"), user("guess")).await;
        let nats = connect(&server.url_with("shop:secret"), NatsSettings::default()).await;
        assert!(nats.is_ok(), "in the URL: {nats:?}");
    });
}

#[test]
fn a_token() {
    run(async {
        let server = NatsOptions::new().token("s3cr3t").start();
        let token = |token: &str| Credentials::Token(token.to_owned());
        expect_credentials(&server, token("s3cr3t"), token("guess")).await;
    });
}

#[test]
fn an_nkey() {
    run(async {
        let key = KeyPair::new_user();
        let server = NatsOptions::new().nkey(&key.public_key()).start();
        let seed = |key: &KeyPair| Credentials::NkeySeed(key.seed().unwrap());
        expect_credentials(&server, seed(&key), seed(&KeyPair::new_user())).await;
    });
}

#[test]
fn a_file_of_credentials() {
    run(async {
        let (operator, account, system) = (
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_account(),
        );
        let limits = r#""limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1,"mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1},"#;
        let no_streams = r#""limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1},"#;
        let of_operator = jwt(&operator, &operator, "operator", "");
        let of_account = jwt(&operator, &account, "account", limits);
        let of_system = jwt(&operator, &system, "account", no_streams);
        let server = NatsOptions::new()
                .settings(&format!(
                    "operator: {of_operator}\nsystem_account: {1}\nresolver: MEMORY\nresolver_preload {{ {0}: {of_account}, {1}: {of_system} }}",
                    account.public_key(),
                    system.public_key()
                ))
                .start();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, issuer: &KeyPair| {
            let user = KeyPair::new_user();
            let text = format!(
                "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                jwt(
                    issuer,
                    &user,
                    "user",
                    r#""pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"#
                ),
                user.seed().unwrap()
            );
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            Credentials::File(path)
        };
        let (right, wrong) = (
            file("right", &account),
            file("wrong", &KeyPair::new_account()),
        );
        expect_credentials(&server, right, wrong).await;
        let missing = with(Credentials::File(folder.path().join("missing")));
        let unusable = connect(&server.url(), missing).await;
        assert!(
            matches!(unusable, Err(ConnectError::Credentials(_))),
            "{unusable:?}"
        );
    });
}

/// A token of the JWT kind by which NATS tells who may what, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, kind: &str, more: &str) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = format!(
        r#"{{"jti":"test","iat":1700000000,"iss":"{}","name":"test","sub":"{}","nats":{{{more}"type":"{kind}","version":2}}}}"#,
        issuer.public_key(),
        subject.public_key()
    );
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A stream with other settings is neither used nor changed.
#[test]
fn a_stream_with_other_settings_is_left_alone() {
    run(async {
        let server = NatsServer::start();
        connect(&server.url(), NatsSettings::default())
            .await
            .unwrap();
        let mut others: [NatsSettings; 4] = std::array::from_fn(|_| NatsSettings::default());
        others[0].bytes_max = Some(1 << 20);
        others[1].age_max = Some(Duration::from_hours(1));
        others[2].storage = nahook_nats::Storage::Memory;
        others[3].ack_wait = Duration::from_secs(77);
        let expected = ["max bytes", "max age", "storage", "ack wait"];
        for (settings, expected) in others.into_iter().zip(expected) {
            match connect(&server.url(), settings).await {
                Err(ConnectError::Differs { setting, .. }) => assert_eq!(setting, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        let again = connect(&server.url(), NatsSettings::default()).await;
        assert!(again.is_ok(), "nothing was changed: {again:?}");
    });
}

/// A stream of somebody else's that has one of our names.
#[test]
fn a_stream_of_somebody_elses_is_left_alone() {
    run(async {
        let server = NatsServer::start();
        let client = async_nats::connect(server.url()).await.unwrap();
        let theirs = stream::Config {
            name: "NAHOOK_DELIVERIES".to_owned(),
            subjects: vec!["theirs.>".to_owned()],
            ..stream::Config::default()
        };
        let jetstream = jetstream::new(client);
        jetstream.create_stream(theirs).await.unwrap();
        let differs = connect(&server.url(), NatsSettings::default()).await;
        assert!(
            matches!(
                differs,
                Err(ConnectError::Differs {
                    setting: "subjects",
                    ..
                })
            ),
            "{differs:?}"
        );
        let another = NatsSettings::default().with_prefix("shop.webhooks");
        assert!(
            connect(&server.url(), another).await.is_ok(),
            "under another prefix"
        );
        let long = "a".repeat(65);
        for prefix in ["", "a b", "a.*", ".", "a..b", "ä", &long] {
            let settings = NatsSettings::default().with_prefix(prefix);
            let refused = connect(&server.url(), settings).await;
            assert!(matches!(refused, Err(ConnectError::Prefix)), "{prefix:?}");
        }
    });
}

#[test]
fn a_server_without_jetstream_or_none_at_all_is_told_apart() {
    run(async {
        let unreachable = connect("nats://127.0.0.1:1", NatsSettings::default()).await;
        assert!(
            matches!(unreachable, Err(ConnectError::Unreachable(_))),
            "{unreachable:?}"
        );
        let options = NatsOptions::new()
            .settings("accounts { plain: { users: [ { user: plain, password: plain } ] } }");
        let server = options.start();
        let url = server.url_with("plain:plain");
        let without = connect(&url, NatsSettings::default()).await;
        assert!(
            matches!(without, Err(ConnectError::NoJetStream)),
            "{without:?}"
        );
        // As nats-server is started without an option: nobody answers for JetStream.
        let server = NatsOptions::new().settings("jetstream: disabled").start();
        let mut settings = NatsSettings::default();
        settings.election_patience = Duration::from_millis(300);
        let without = connect(&server.url(), settings).await;
        assert!(
            matches!(without, Err(ConnectError::NoJetStream)),
            "{without:?}"
        );
    });
}

/// A broken record moves to the dead letters, a newer one is left alone, and others are delivered.
#[test]
fn what_cannot_be_read_stands_in_nobodys_way() {
    run(async {
        let server = NatsServer::start();
        let nats = connect(&server.url(), NatsSettings::default())
            .await
            .unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = jetstream::new(client);
        for body in [
            "{\"format\":1,\"events\":7}",
            "{\"format\":9,\"later\":true}",
        ] {
            let sent = jetstream
                .publish("nahook.deliveries", body.into())
                .await
                .unwrap();
            sent.await.unwrap();
        }
        let slots = publish(&nats, 1, 2).await;
        let patience = Duration::from_mins(1);
        let leased = support::lease_some(&nats.queue, 2, patience).await;
        assert_eq!(support::ids(&leased), support::published(&slots));
        let left = support::reader::records(&server.url(), "NAHOOK_DELIVERIES").await;
        assert!(
            left.iter()
                .any(|record| record.body.starts_with(b"{\"format\":9"))
        );
        assert!(
            !left
                .iter()
                .any(|record| record.body.starts_with(b"{\"format\":1,\"events\":7"))
        );
        let dead = support::reader::records(&server.url(), "NAHOOK_DEAD_LETTERS").await;
        assert_eq!(dead.len(), 1, "the broken one");
        assert_eq!(dead[0].body, "{\"format\":1,\"events\":7}");
    });
}

/// Speaks the protocol just far enough for a client to connect: a server of this version.
async fn server_of_version(version: &str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let info = format!(
        "INFO {{\"server_id\":\"S\",\"version\":\"{version}\",\"max_payload\":1048576,\"headers\":true}}\r\n"
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let _ = stream.write_all(info.as_bytes()).await;
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                if line.starts_with("PING") {
                    let _ = stream.write_all(b"PONG\r\n").await;
                }
                line.clear();
            }
        }
    });
    url
}

#[test]
fn server_older_than_2_12_is_refused() {
    run(async {
        for version in ["2.9.10", "2.11.99", "2.11.0-preview.1", "1.13.0", ""] {
            let url = server_of_version(version).await;
            let refused = connect(&url, NatsSettings::default()).await;
            let Err(error @ ConnectError::ServerTooOld { .. }) = refused else {
                panic!("{version}: {refused:?}");
            };
            let told = error.to_string();
            assert!(told.contains(version) && told.contains("2.12"), "{told}");
        }
        for version in ["2.12.0", "2.12.0-RC.1", "2.14.3", "3.0.0"] {
            let url = server_of_version(version).await;
            let connected = connect(&url, NatsSettings::default());
            let ended = tokio::time::timeout(Duration::from_secs(2), connected).await;
            let is_refused = matches!(ended, Ok(Err(ConnectError::ServerTooOld { .. })));
            assert!(!is_refused, "{version}");
        }
    });
}
