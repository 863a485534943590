//! A publisher of your own: one trait with one method. It appends to a file; `tests/custom_publisher_conformance.rs`
//! proves it with the kit.
//!
//! ```sh
//! cargo run -p nahook-examples --example custom_publisher -- ./deliveries.jsonl
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::path::Path;

use nahook_control::{ApplyMode, Catalog, Manifest};
use nahook_core::id::WorkspaceId;
use nahook_core::{FanOut, Metadata, NewEvent, Payload};
use nahook_examples::JsonLinesPublisher;
use nahook_memory::MemoryStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "deliveries.jsonl".to_owned());
    let store = MemoryStore::default();
    let manifest: Manifest = serde_json::from_str(
        r#"{ "workspaces": [{
            "id": "ws_custom",
            "name": "Custom",
            "event_types": [{ "name": "order.paid" }],
            "endpoints": [
                { "id": "ep_one", "url": "https://one.example", "event_types": ["order.paid"] },
                { "id": "ep_two", "url": "https://two.example", "event_types": ["order.paid"] }
            ]
        }]}"#,
    )?;
    store.apply(&manifest, ApplyMode::Commit).await?;

    let publisher = JsonLinesPublisher::open(Path::new(&path))?;
    let fan_out = FanOut::new(store, publisher);
    let event = NewEvent {
        event_type: "order.paid".parse()?,
        payload: Payload::new(r#"{ "order_id": "ord_123" }"#)?,
        metadata: Metadata::default(),
    };
    let receipt = fan_out
        .trigger(event, WorkspaceId::new("ws_custom")?)
        .await?;
    for delivery in receipt.deliveries() {
        println!("{} {:?}", delivery.endpoint(), delivery.outcome());
    }
    Ok(())
}
