//! A publisher of your own behind the same handle: one trait with one method. It appends to a file, from which another
//! program delivers; `tests/own_adapter_conformance.rs` proves it with the kit.
//!
//! ```sh
//! cargo run -p nahook-examples --example own_adapter -- ./deliveries.jsonl
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::path::Path;

use nahook_embed::Hooks;
use nahook_examples::JsonLinesPublisher;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1);
    let path = path.unwrap_or_else(|| "deliveries.jsonl".to_owned());

    // Endpoints and subscriptions are in a store of ours, deliveries go to the file.
    let publisher = JsonLinesPublisher::open(Path::new(&path))?;
    let hooks = Hooks::builder("memory://").own_publisher(publisher);
    let hooks = hooks.open().await?;
    for url in ["https://one.example", "https://two.example"] {
        hooks.create_endpoint(url).on("order.paid").await?;
    }
    let order = json!({"order": "ord_123"});
    let receipt = hooks.trigger("order.paid", &order).await?;
    for delivery in receipt.deliveries() {
        println!("{:?}", delivery.outcome());
    }
    Ok(())
}
