//! Tests of an app: what it sends is captured, nothing leaves the process, and retries come when the test moves the clock.
//!
//! ```sh
//! cargo test -p nahook-examples --example app_tests
//! ```

use nahook_embed::{Hooks, HooksError};
use serde_json::json;

/// The app.
async fn pay(hooks: &Hooks, order: &str) -> Result<(), HooksError> {
    hooks
        .trigger("order.paid", &json!({ "order": order }))
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hooks = Hooks::open("memory://").await?;
    hooks.ensure_event_type("order.paid").await?;
    Ok(pay(&hooks, "ord_123").await?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn paid_order_is_announced() {
        let hooks = Hooks::test().await.unwrap();
        let endpoint = hooks.create_endpoint("https://customer.example/hooks");
        endpoint.on("order.paid").await.unwrap();
        pay(&hooks, "ord_123").await.unwrap();
        let order = json!({"order": "ord_123"});
        hooks.assert_delivered("order.paid", &order).await;
    }

    #[tokio::test]
    async fn customer_who_was_down_hears_of_it_later() {
        let hooks = Hooks::test().await.unwrap();
        let endpoint = hooks.create_endpoint("https://customer.example/hooks");
        endpoint.on("order.paid").await.unwrap();
        hooks.answer_with(503);
        pay(&hooks, "ord_123").await.unwrap();
        assert_eq!(hooks.deliver().await.unwrap()[0].status, 503);
        hooks.answer_with(204);
        hooks.advance(Duration::from_mins(1));
        assert_eq!(hooks.deliver().await.unwrap()[0].attempt, 2);
    }
}
