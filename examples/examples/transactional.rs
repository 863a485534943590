//! An order and its webhooks in one transaction of the app's own: both, or neither.
//!
//! ```sh
//! cargo run -p nahook-examples --example transactional postgres://postgres@localhost/shop
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;

use nahook_control::{
    ApplyMode, Catalog as _, EndpointSpec, EventTypeSpec, Manifest, WorkspaceSpec,
};
use nahook_core::id::WorkspaceId;
use nahook_core::{EventTypeName, Metadata, NewEvent, Payload};
use nahook_postgres::{PostgresSettings, PostgresStore};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let url = std::env::args()
        .nth(1)
        .ok_or("the database's URL is missing")?;

    // The app's own pool and its own migrations …
    let pool = PgPool::connect(&url).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, item text NOT NULL)")
        .execute(&pool)
        .await?;
    // … and the store beside it, in the schema `nahook` of the same database.
    let nahook = PostgresStore::connect(&url, PostgresSettings::default()).await?;
    nahook.apply(&manifest()?, ApplyMode::Commit).await?;

    let mut tx = pool.begin().await?;
    place(&mut tx, &nahook, "a book that is sold out").await?;
    tx.rollback().await?;
    report("after the roll-back", &pool).await?;

    let mut tx = pool.begin().await?;
    place(&mut tx, &nahook, "a book").await?;
    tx.commit().await?;
    report("after the commit", &pool).await?;

    nahook.close().await?;
    Ok(())
}

/// Writes the order and publishes the event in the same transaction.
async fn place(tx: &mut PgConnection, nahook: &PostgresStore, item: &str) -> Result<(), AnyError> {
    sqlx::query("INSERT INTO orders (item) VALUES ($1)")
        .bind(item)
        .execute(&mut *tx)
        .await?;
    let event = NewEvent {
        event_type: EventTypeName::new("order.paid")?,
        payload: Payload::of(&json!({ "item": item }))?,
        metadata: Metadata::default(),
    };
    let receipt = nahook
        .trigger_in(tx, &event, WorkspaceId::new("ws_shop")?)
        .await?;
    println!(
        "{item}: {} deliveries, once this commits",
        receipt.delivery_ids().count()
    );
    Ok(())
}

async fn report(when: &str, pool: &PgPool) -> Result<(), sqlx::Error> {
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(pool)
        .await?;
    let deliveries: i64 = sqlx::query_scalar("SELECT count(*) FROM nahook.delivery")
        .fetch_one(pool)
        .await?;
    println!("{when}: {orders} orders, {deliveries} deliveries");
    Ok(())
}

fn manifest() -> Result<Manifest, AnyError> {
    let paid = EventTypeName::new("order.paid")?;
    let endpoint = |url: &str| EndpointSpec {
        url: url.to_owned(),
        event_types: Some(vec![paid.clone()]),
        ..EndpointSpec::default()
    };
    let workspace = WorkspaceSpec {
        id: Some("ws_shop".parse()?),
        name: "shop".to_owned(),
        event_types: vec![EventTypeSpec::named(paid.clone())],
        endpoints: vec![
            endpoint("https://warehouse.example/hooks"),
            endpoint("https://customer.example/hooks"),
        ],
        ..WorkspaceSpec::default()
    };
    Ok(Manifest {
        workspaces: vec![workspace],
    })
}
