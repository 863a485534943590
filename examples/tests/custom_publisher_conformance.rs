//! The custom publisher keeps its port's promises: every clause of the kit, one test each.
#![expect(clippy::unwrap_used, reason = "a harness fails by panicking")]

use nahook_control::Manifest;
use nahook_core::{Clock as _, FailureKind, Outcome, Payload};
use nahook_examples::JsonLinesPublisher;
use nahook_testkit::declare::{nth_endpoint_id, single_send};
use nahook_testkit::{
    HeldDelivery, ManualClock, PublisherHarness, publish_each, publisher_conformance, run,
};
use serde_json::{Value, from_str, from_value};
use tempfile::TempDir;

struct JsonLinesHarness(TempDir, JsonLinesPublisher);

impl JsonLinesHarness {
    fn open(dir: TempDir) -> Self {
        let publisher = JsonLinesPublisher::open(&dir.path().join("deliveries.jsonl")).unwrap();
        Self(dir, publisher)
    }
}

impl PublisherHarness for JsonLinesHarness {
    type Publisher = JsonLinesPublisher;

    async fn start() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn publisher(&self) -> JsonLinesPublisher {
        self.1.clone()
    }

    // Files know nothing of endpoints, and are always within reach.
    async fn apply(&self, _: &Manifest) {}

    async fn make_unreachable(&self) -> bool {
        false
    }

    async fn held(&self) -> Vec<HeldDelivery> {
        let text = std::fs::read_to_string(self.0.path().join("deliveries.jsonl")).unwrap();
        text.lines()
            .map(|line| held(&from_str(line).unwrap()))
            .collect()
    }

    async fn restart(self) -> Option<Self> {
        Some(Self::open(self.0))
    }
}

fn held(line: &Value) -> HeldDelivery {
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    HeldDelivery {
        delivery: text("delivery").parse().unwrap(),
        endpoint: text("endpoint").parse().unwrap(),
        payload: Payload::from_stored(text("payload").into()),
        metadata: from_value(line["metadata"].clone()).unwrap(),
    }
}

publisher_conformance!(JsonLinesHarness);

#[test]
fn event_with_a_key_is_not_written() {
    run(async {
        let harness = JsonLinesHarness::start().await;
        let now = ManualClock::default().now();
        let mut sends = [single_send("ws", nth_endpoint_id(0), Some("k"), 1, now)];
        publish_each(&harness.publisher(), &mut sends).await;
        let refused = Outcome::Failed(FailureKind::QueueUnavailable);
        assert_eq!(sends[0].outcome(), refused);
        assert_eq!(harness.held().await, []);
    });
}
