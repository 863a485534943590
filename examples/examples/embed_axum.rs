//! An axum app with fan-out inside: its own route triggers in-process, and the Ingestion API is mounted beside it.
//!
//! Run it, start a receiver with `cargo run -p nahook-examples --example verify_receiver`, and place an order:
//!
//! ```sh
//! curl -X POST http://127.0.0.1:3000/orders -H 'Content-Type: application/json' -d '{"item":"book"}'
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use nahook_control::{ApplyMode, Catalog as _, Manifest};
use nahook_core::id::WorkspaceId;
use nahook_core::{Admission, FanOut, GcraLimiter, NewEvent, Payload, SystemClock};
use nahook_delivery::{AddressPolicy, HttpTransport, TransportSettings, Worker};
use nahook_http::{Ingestion, ingestion_router};
use nahook_sqlite::{SqliteSettings, SqliteStore};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The key of this app. A real one comes from the app's settings.
const KEY: &str = "nhk_us_example";

/// Shares the store's handle with the routes.
type Hooks = FanOut<SqliteStore, SqliteStore>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let receiver = arguments
        .next()
        .unwrap_or_else(|| "http://127.0.0.1:3002/hooks".to_owned());
    let file = arguments
        .next()
        .unwrap_or_else(|| "embed-axum.db".to_owned());

    // One file holds everything; every port is this one handle.
    let store = SqliteStore::open(&file, SqliteSettings::server())?;
    store
        .apply(&manifest(&receiver)?, ApplyMode::Commit)
        .await?;
    let fan_out = FanOut::new(store.clone(), store.clone());

    // The receiver is on this machine, which an endpoint may not be unless the operator says so.
    let policy = AddressPolicy::new().allow_range("127.0.0.0/8".parse()?);
    let transport = HttpTransport::new(policy, &TransportSettings::default())?;
    let worker = Worker::new(store.clone(), store.clone(), transport);
    let working = tokio::spawn(worker.run(stop()));

    // The Ingestion API beside it, for callers with keys: what they may spend is limited, and its parts are trait objects.
    let store = Arc::new(store);
    let behind = FanOut::new(Arc::clone(&store) as _, Arc::clone(&store) as _);
    let limiter = Arc::new(GcraLimiter::new(Arc::new(SystemClock)));
    let ingestion = Ingestion::new(Arc::new(Admission::new(behind, limiter as _)), store);
    let app = Router::new()
        .route("/orders", post(place_order))
        .with_state(fan_out)
        .merge(ingestion_router(ingestion));
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(stop())
        .await?;
    working.await?;
    Ok(())
}

/// Places an order and tells everybody who subscribed.
async fn place_order(
    State(fan_out): State<Hooks>,
    Json(order): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let unusable = |_| StatusCode::BAD_REQUEST;
    let event = NewEvent {
        event_type: "order.placed"
            .parse()
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?,
        payload: Payload::of(&json!({ "order": order })).map_err(unusable)?,
        metadata: nahook_core::Metadata::default(),
    };
    let shop = WorkspaceId::new("ws_shop").map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let receipt = fan_out.trigger(event, shop).await;
    // An error means that nothing was queued: the client may try again.
    let receipt = receipt.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let queued: Vec<_> = receipt.delivery_ids().map(|id| id.to_string()).collect();
    Ok(Json(
        json!({ "queued": queued, "not_queued": receipt.failures().count() }),
    ))
}

fn manifest(receiver: &str) -> Result<Manifest, serde_json::Error> {
    serde_json::from_value(json!({ "workspaces": [{
        "id": "ws_shop",
        "name": "Embedded",
        "event_types": [{ "name": "order.placed" }],
        "endpoints": [
            { "id": "ep_billing", "url": format!("{receiver}/billing"), "event_types": ["order.placed"],
              "secret": "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh" },
            { "id": "ep_mail", "url": format!("{receiver}/mail"), "event_types": ["order.placed"],
              "secret": "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh" },
        ],
        "api_keys": [{ "name": "app", "key": KEY }],
    }]}))
}

async fn stop() {
    // Without a handler, Ctrl-C ends the process, which is a stop as well.
    let _ = tokio::signal::ctrl_c().await;
}
