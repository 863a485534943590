//! The spans that the guide lists are made, and hold no payload. In a process of its own: a span that another test's thread
//! reaches first, without a subscriber, may be off for good.
#![cfg(test)]

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use nahook_embed::{DeliveryEvent, Hooks};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The names in the first column of the guide's table of spans.
fn documented() -> BTreeSet<String> {
    let rows = include_str!("../../docs/embed.md").lines();
    let names = rows.filter_map(|row| row.strip_prefix("| `nahook.")?.split('`').next());
    names.map(|name| format!("nahook.{name}")).collect()
}

#[tokio::test]
async fn every_documented_span_is_made_and_no_other_and_none_holds_a_payload() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(LevelFilter::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || written.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let hooks = Hooks::open("memory://").await.unwrap();
    // Refused without a connection: a private address.
    let endpoint = hooks.create_endpoint("http://127.0.0.1:9/hunter2");
    let endpoint = endpoint.on("order.paid").await.unwrap();
    let mut events = hooks.events();
    let payload = json!({"secret": "sesame"});
    hooks.trigger("order.paid", &payload).await.unwrap();
    hooks.send(endpoint.id, &payload).await.unwrap();
    let failed_twice = async {
        for _ in 0..2 {
            let event = events.next().await;
            assert!(matches!(event, Some(DeliveryEvent::Retrying(..))));
        }
    };
    hooks.run(failed_twice).await;

    let mut triggers = 1;
    #[cfg(feature = "sqlite")]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.db");
        let hooks = Hooks::builder(&format!("sqlite://{}", file.display())).create_event_types();
        let hooks = hooks.open().await.unwrap();
        hooks.ensure_event_type("order.paid").await.unwrap();
        let mut app = rusqlite::Connection::open(&file).unwrap();
        hooks.trigger_in(&mut app, "order.paid", &payload).unwrap();
        hooks.close().await.unwrap();
        triggers += 1;
    }

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for hidden in ["sesame", "hunter2", "whsec_"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let lines = text.lines();
    let lines: Vec<Value> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
    let closed = |line: &&Value| line["fields"]["message"] == "close";
    let names = lines
        .iter()
        .filter(closed)
        .map(|line| &line["span"]["name"]);
    let names = names
        .filter_map(Value::as_str)
        .filter(|it| it.starts_with("nahook."));
    let names: Vec<_> = names.collect();
    let of_triggers = names.iter().filter(|name| **name == "nahook.trigger");
    assert_eq!(of_triggers.count(), triggers);
    let made: BTreeSet<_> = names.into_iter().map(str::to_owned).collect();
    assert!(made.len() >= 6, "{made:?}");
    assert_eq!(made, documented());
}
