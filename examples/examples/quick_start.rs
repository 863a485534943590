//! Fan out and deliver: the shortest whole program.
//!
//! Start a receiver with `cargo run -p nahook-examples --example verify_receiver`, then:
//!
//! ```sh
//! cargo run -p nahook-examples --example quick_start
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;

use nahook_embed::{DeliveryEvent, Hooks};
use serde_json::json;

/// Secret that the receiver verifies with. A real app lets it be drawn, and shows it to the customer.
const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let receiver = argument("http://127.0.0.1:3002/hooks/quick_start");
    // Or memory://, or postgres://… with the feature of that name.
    let store = argument("sqlite://hooks.db");

    // The receiver is on this machine, which an endpoint may not be unless the app says so.
    let hooks = Hooks::builder(&store).allow_endpoint_range("127.0.0.0/8".parse()?);
    let hooks = hooks.open().await?;
    if hooks.endpoints().await?.is_empty() {
        let endpoint = hooks.create_endpoint(&receiver).on("order.paid");
        endpoint.secret(SECRET).await?;
    }

    let mut events = hooks.events();
    let order = json!({"order": "ord_123"});
    let receipt = hooks.trigger("order.paid", &order).await?;
    println!("{} queued", receipt.delivery_ids().count());

    // Delivers until it has arrived. A service would wait for a signal instead.
    let has_arrived = async {
        while let Some(event) = events.next().await {
            if let DeliveryEvent::Delivered(it) = event {
                println!("delivered after {} attempts", it.attempts);
                break;
            }
        }
    };
    hooks.run(has_arrived).await;
    hooks.close().await?;
    Ok(())
}
