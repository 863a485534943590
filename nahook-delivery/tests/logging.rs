//! Lines of the worker's log. In a process of their own: a line that another test's thread reaches first, without a
//! subscriber, may be off for good.

#![cfg(test)]

#[path = "worker/faulty.rs"]
#[expect(dead_code, reason = "the tests of the worker use more of it")]
mod faulty;
#[path = "worker/support.rs"]
#[expect(dead_code, reason = "the tests of the worker use more of it")]
mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use nahook_control::EndpointSpec;
use nahook_core::id::EndpointId;
use nahook_delivery::WorkerSettings;
use nahook_queue::DeliveryStatus;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::faulty::{Fault, Faulty};
use crate::support::{Act, Rig, SECRET};

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

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn subscriber(log: &Log) -> impl tracing::Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish()
}

/// Returns the fields of each line with this message, and all of the log.
fn fields(log: &Log, message: &str) -> (Vec<Value>, String) {
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let fields = lines
        .map(|mut line| line["fields"].take())
        .filter(|fields| fields["message"] == message)
        .collect();
    (fields, text)
}

#[tokio::test(start_paused = true)]
async fn failed_call_is_logged_with_its_causes() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(subscriber(&log));
    let rig = Rig::new(&["ep_a"]).await;
    let mut calls = 0;
    let queue = Faulty::new(&rig.store).settle(move |_| {
        calls += 1;
        Fault::Unavailable.when(calls == 1)
    });
    let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;
    let (failed, text) = fields(&log, "bookkeeping failed");
    assert_eq!(failed.len(), 1, "{text}");
    assert_eq!(failed[0]["call"], "settle");
    assert_eq!(
        failed[0]["error"],
        "the store is unavailable: a planted fault"
    );
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_one_wide_line_without_payload_secret_or_url() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(subscriber(&log));
    let rig = Rig::new(&[]).await;
    let url = "http://receiver.test/hooks?token=hunter2";
    rig.apply(vec![EndpointSpec {
        id: EndpointId::new("ep_a").ok(),
        url: url.to_owned(),
        secret: Some(SECRET.to_owned()),
        auth_username: Some("Aladdin".to_owned()),
        auth_password: Some("sesame".to_owned()),
        ..EndpointSpec::default()
    }])
    .await;
    rig.script_url(url, |nth| Act::Answer(if nth == 0 { 500 } else { 204 }));
    let worker = rig.start(WorkerSettings::default());
    let ids = rig.publish(&["ep_a"]).await;
    rig.until(&ids, DeliveryStatus::Delivered).await;
    worker.stop().await;

    let (attempts, text) = fields(&log, "attempt");
    for hidden in [
        "hunter2",
        "receiver.test",
        "sesame",
        "Aladdin",
        "whsec_",
        "order\\\"",
        "1.0e+02",
    ] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert_eq!(attempts.len(), 2);
    let failed = &attempts[0];
    assert_eq!(failed["delivery_id"], ids[0].to_string());
    assert!(failed["message_id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(failed["endpoint_id"], "ep_a");
    assert_eq!(failed["workspace_id"], "ws_1");
    assert_eq!(failed["event_type"], "order.paid");
    assert_eq!(
        (&failed["attempt"], &failed["status_code"]),
        (&1.into(), &500.into())
    );
    assert_eq!(
        (&failed["outcome"], &failed["next"]),
        (&"failed".into(), &"retry".into())
    );
    assert!((4_500..=5_500).contains(&failed["retry_in_ms"].as_u64().unwrap()));
    assert!(failed["duration_ms"].is_u64());
    let delivered = &attempts[1];
    assert_eq!(
        (&delivered["attempt"], &delivered["status_code"]),
        (&2.into(), &204.into())
    );
    assert_eq!(delivered["outcome"], "delivered");
    assert_eq!(delivered["next"], "delivered");
}
