//! A workspace for each tenant: event types, endpoints and deliveries of one are apart from all others'.
//!
//! ```sh
//! cargo run -p nahook-examples --example multi_tenant
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;

use nahook_embed::Hooks;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = std::env::args().nth(1);
    let hooks = Hooks::open(store.as_deref().unwrap_or("memory://")).await?;

    // When a tenant signs up …
    for (tenant, urls) in [("acme", 1), ("umbrella", 2)] {
        let tenant = hooks.workspace(tenant).await?;
        for number in 1..=urls {
            let url = format!("https://customer.example/hooks/{number}");
            tenant.create_endpoint(&url).on("invoice.paid").await?;
        }
    }

    // … and in a request, once it is known whose it is.
    for tenant in ["acme", "umbrella"] {
        let tenant = hooks.workspace(tenant).await?;
        let invoice = json!({"invoice": 7});
        let receipt = tenant.trigger("invoice.paid", &invoice).await?;
        let queued = receipt.delivery_ids().count();
        println!("{}: {queued} queued", tenant.workspace_id());
    }

    // One `run` delivers for all of them, until it is told to stop.
    hooks.run(async {}).await;
    hooks.close().await?;
    Ok(())
}
