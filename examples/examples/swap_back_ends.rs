//! The back end is chosen by a flag: the same engine, over trait objects.
//!
//! ```sh
//! cargo run -p nahook-examples --example swap_back_ends -- memory
//! cargo run -p nahook-examples --example swap_back_ends -- ./swap.db
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;
use std::sync::Arc;

use nahook_control::{ApplyMode, Catalog, Manifest};
use nahook_core::id::WorkspaceId;
use nahook_core::{DynDeliveryPublisher, DynSubscriptionStore, FanOut, NewEvent, Payload};
use nahook_memory::MemoryStore;
use nahook_sqlite::{SqliteSettings, SqliteStore};

/// The ports this program uses.
struct BackEnd {
    catalog: Arc<dyn Catalog>,
    publisher: Arc<dyn DynDeliveryPublisher>,
    subscriptions: Arc<dyn DynSubscriptionStore>,
}

impl BackEnd {
    fn of<T>(store: T) -> Self
    where
        T: Catalog + DynDeliveryPublisher + DynSubscriptionStore + Clone + 'static,
    {
        Self {
            catalog: Arc::new(store.clone()),
            publisher: Arc::new(store.clone()),
            subscriptions: Arc::new(store),
        }
    }

    fn choose(argument: &str) -> Result<Self, Box<dyn Error>> {
        match argument {
            "memory" => Ok(Self::of(MemoryStore::default())),
            path => Ok(Self::of(SqliteStore::open(path, SqliteSettings::server())?)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "memory".to_owned());
    let back_end = BackEnd::choose(&argument)?;
    let manifest: Manifest = serde_json::from_str(
        r#"{ "workspaces": [{
            "id": "ws_swap",
            "name": "Swap",
            "event_types": [{ "name": "order.paid" }],
            "endpoints": [{ "id": "ep_one", "url": "https://one.example", "event_types": ["order.paid"] }]
        }]}"#,
    )?;
    back_end.catalog.apply(&manifest, ApplyMode::Commit).await?;

    let fan_out = FanOut::new(back_end.subscriptions, back_end.publisher);
    let event = NewEvent {
        event_type: "order.paid".parse()?,
        payload: Payload::new(r#"{"order_id":"ord_123"}"#)?,
        metadata: nahook_core::Metadata::default(),
    };
    let receipt = fan_out.trigger(event, WorkspaceId::new("ws_swap")?).await?;
    for delivery in receipt.deliveries() {
        println!("{} {:?}", delivery.endpoint(), delivery.outcome());
    }
    Ok(())
}
