//! Secrets are shown where they are made or asked for, and nowhere else.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::management::support::{Bench, KEY, PASSWORD, SECRET, SHOP, TOKEN, request};

/// Collects log lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one session, from its begin to its end"
)]
async fn no_list_log_error_or_audit_entry_holds_a_secret() {
    let log = Log::default();
    let subscriber = || {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish()
    };
    // With a single subscriber alive, a thread without one decides for all whether a line is ever logged.
    let _second = tracing::Dispatch::new(subscriber());
    let _guard = tracing::subscriber::set_default(subscriber());
    let bench = Bench::new().await;
    let mut secrets: Vec<String> = [SECRET, PASSWORD, TOKEN, KEY].map(str::to_owned).into();
    let mut shown = String::new();

    // Everything that makes a secret.
    let rotated = bench
        .post("/endpoints/ep_1/secret/rotate", &json!({}))
        .await
        .json(200);
    let mut note = |json: &serde_json::Value, field: &str| {
        secrets.push(json[field].as_str().unwrap().to_owned());
    };
    note(&rotated, "secret");
    let made = bench
        .post(
            "/endpoints",
            &json!({"url": "https://x", "authUsername": "u", "authPassword": "an0ther-pa55"}),
        )
        .await
        .json(201);
    note(&made, "secret");
    let endpoint = format!("/endpoints/{}", made["id"].as_str().unwrap());
    note(
        &bench
            .post("/api-keys", &json!({"name": "k"}))
            .await
            .json(201),
        "key",
    );
    note(
        &bench
            .post("/management-tokens", &json!({"name": "t"}))
            .await
            .json(201),
        "token",
    );
    let application = bench
        .post("/applications", &json!({"name": "A"}))
        .await
        .json(201);
    let portal = format!(
        "/applications/{}/portal",
        application["id"].as_str().unwrap()
    );
    note(&bench.post(&portal, &json!({})).await.json(201), "code");
    secrets.push("an0ther-pa55".to_owned());
    assert_eq!(secrets.len(), 10);

    // Passwords are not shown even where the signing secret is.
    for answer in [&made, &rotated, &bench.get(&endpoint).await.json(200)] {
        assert!(!answer.to_string().contains("pa55"), "{answer}");
    }

    // Everything that must not show one.
    let changed = json!({"authUsername": "u", "authPassword": PASSWORD});
    shown += &bench.patch(&endpoint, &changed).await.json(200).to_string();
    for body in [
        json!({"url": "https://x", "authUsername": "a:b", "authPassword": PASSWORD}),
        json!({"url": "https://x", "authUsername": "a", "authPassword": [PASSWORD]}),
        json!({"url": "https://x", "authPassword": PASSWORD}),
        json!({"url": "https://x", "isActive": PASSWORD, "type": PASSWORD}),
        json!({"url": format!("https://u:{PASSWORD}@x/")}),
        json!({"url": PASSWORD}),
    ] {
        shown += &bench
            .post("/endpoints", &body)
            .await
            .error(400, "validation_error");
        let answer = bench.patch(&endpoint, &body).await;
        shown += std::str::from_utf8(&answer.body).unwrap();
    }
    for list in [
        "endpoints",
        "api-keys",
        "management-tokens",
        "audit-logs",
        "applications",
        "environments",
        "event-types",
    ] {
        shown += &bench.get(&format!("/{list}")).await.json(200).to_string();
    }
    shown += &bench
        .get(&format!(
            "/applications/{}/endpoints",
            application["id"].as_str().unwrap()
        ))
        .await
        .json(200)
        .to_string();
    for token in [TOKEN.to_owned() + "x", KEY.to_owned()] {
        let asked = request(Method::GET, &format!("{SHOP}/endpoints"), &token, "");
        shown += &bench.send(asked).await.error(401, "unauthorized");
    }
    let query = request(
        Method::GET,
        &format!("{SHOP}/audit-logs?action={PASSWORD}%00&page=1"),
        TOKEN,
        "",
    );
    shown += &bench.send(query).await.error(400, "validation_error");

    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("createEndpoint") && logged.contains("tok_shop"),
        "{logged}"
    );
    for secret in &secrets {
        assert!(!shown.contains(secret), "an answer shows {secret}");
        assert!(!logged.contains(secret), "the log shows {secret}");
    }
}
