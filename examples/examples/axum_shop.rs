//! An axum shop on Postgres: an order and its webhooks in one transaction, with delivery and the APIs in the same process.
//!
//! ```sh
//! cargo run -p nahook-examples --example axum_shop postgres://postgres@localhost/shop
//! curl -X POST http://127.0.0.1:3000/orders -d 'a book'
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::post};
use nahook_embed::Hooks;
use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the database's URL is missing")?;
    let listen = arguments.next().unwrap_or("127.0.0.1:3000".into());
    let pool = PgPool::connect(&url).await?;
    let table = "CREATE TABLE IF NOT EXISTS orders (item text CHECK (item <> ''))";
    sqlx::query(table).execute(&pool).await?;
    // Its tables are beside the shop's own, in the schema `nahook`.
    let hooks = Hooks::open(&url).await?;
    if hooks.endpoints().await?.is_empty() {
        let customer = hooks.create_endpoint("https://customer.example/hooks");
        customer.on("order.placed").await?;
    }
    let app = Router::new()
        .route("/orders", post(place_order))
        .with_state((pool, hooks.clone()))
        .nest("/hooks", hooks.router());
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = || async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop());
    let (served, ()) = tokio::join!(serving.into_future(), hooks.run(stop()));
    Ok(served?)
}

/// Commits the order and its webhooks, or neither.
async fn place_order(
    State((pool, hooks)): State<(PgPool, Hooks)>,
    item: String,
) -> Result<String, (StatusCode, String)> {
    let refused = |error: sqlx::Error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    let mut tx = pool.begin().await.map_err(refused)?;
    let order = json!({ "item": item });
    let receipt = hooks.trigger_in(&mut *tx, "order.placed", &order).await;
    let receipt = receipt.map_err(|it| (StatusCode::SERVICE_UNAVAILABLE, it.to_string()))?;
    let insert = sqlx::query("INSERT INTO orders (item) VALUES ($1)").bind(item);
    insert.execute(&mut *tx).await.map_err(refused)?;
    tx.commit().await.map_err(refused)?;
    Ok(format!("{} queued", receipt.delivery_ids().count()))
}
