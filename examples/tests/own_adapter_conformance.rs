//! The publisher of `own_adapter` keeps its port's promises: every clause of the kit, one test each.
#![cfg(test)]

use nahook_control::Manifest;
use nahook_core::Payload;
use nahook_examples::JsonLinesPublisher;
use nahook_testkit::{HeldDelivery, PublisherHarness, publisher_conformance};
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
