//! A receiver that takes what is signed, once, and answers 401 to what is not signed.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::error::Error;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use nahook_receive::{MemorySeenIds, RawWebhook, Verifier, VerifyLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:3002".to_owned());
    let secret = arguments
        .next()
        .unwrap_or_else(|| "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh".to_owned());

    // While a secret is rotated, give the verifier both.
    let verify = VerifyLayer::new(Verifier::new([secret])?).deduplicate(MemorySeenIds::new());
    let app = Router::new()
        .route("/hooks/{name}", post(receive))
        .layer(verify);
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Takes a verified webhook. With `Webhook<T>` instead, its body is read from JSON.
async fn receive(webhook: RawWebhook) -> StatusCode {
    println!("{}", String::from_utf8_lossy(&webhook.body));
    StatusCode::NO_CONTENT
}
