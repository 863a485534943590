//! An axum app with webhooks inside: its own route triggers, and the APIs are mounted beside it.
//!
//! Run it, start a receiver with `cargo run -p nahook-examples --example verify_receiver`, and place an order:
//!
//! ```sh
//! curl -X POST http://127.0.0.1:3000/orders -H 'Content-Type: application/json' -d '{"item":"book"}'
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use nahook_embed::Hooks;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Secret that the receiver verifies with. A real app lets it be drawn, and shows it to the customer.
const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let listen = argument("127.0.0.1:3000");
    let receiver = argument("http://127.0.0.1:3002/hooks");
    let store = format!("sqlite://{}", argument("embed-axum.db"));

    // The receiver is on this machine, which an endpoint may not be unless the app says so.
    let hooks = Hooks::builder(&store).allow_endpoint_range("127.0.0.0/8".parse()?);
    let hooks = hooks.open().await?;
    if hooks.endpoints().await?.is_empty() {
        for name in ["billing", "mail"] {
            let endpoint = hooks.create_endpoint(&format!("{receiver}/{name}"));
            endpoint.on("order.placed").secret(SECRET).await?;
        }
        println!("key {}", hooks.create_api_key("app").await?.expose());
    }

    let app = Router::new()
        .route("/orders", post(place_order))
        .with_state(hooks.clone())
        .merge(hooks.router());
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop());
    let (served, ()) = tokio::join!(serving.into_future(), hooks.run(stop()));
    Ok(served?)
}

/// Places an order and tells everybody who subscribed.
async fn place_order(
    State(hooks): State<Hooks>,
    Json(order): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let receipt = hooks
        .trigger("order.placed", &json!({ "order": order }))
        .await;
    // An error means that nothing was queued: the client may try again.
    let receipt = receipt.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let queued: Vec<_> = receipt.delivery_ids().map(|id| id.to_string()).collect();
    let not_queued = receipt.failures().count();
    Ok(Json(json!({ "queued": queued, "not_queued": not_queued })))
}

async fn stop() {
    // Without a handler, Ctrl-C ends the process, which is a stop as well.
    let _ = tokio::signal::ctrl_c().await;
}
