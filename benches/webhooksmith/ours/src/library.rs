//! `nahook-embed`, by its defaults.

use nahook_embed::Hooks;

use crate::measure::{Failure, Library, payload};

pub struct Ours(Hooks);

impl Library for Ours {
    async fn open(store: &str, receiver: &str, endpoints: usize) -> Result<Self, Failure> {
        let hooks = Hooks::builder(store).allow_endpoint_range("127.0.0.0/8".parse()?);
        let hooks = hooks.open().await?;
        for n in 0..endpoints {
            let endpoint = hooks.create_endpoint(&format!("{receiver}/{n}"));
            endpoint.on("order.paid").await?;
        }
        Ok(Self(hooks))
    }

    async fn fan_out(&self) -> Result<usize, Failure> {
        let receipt = self.0.trigger("order.paid", &payload()).await?;
        Ok(receipt.delivery_ids().count())
    }

    async fn deliver(&self) {
        self.0.run(std::future::pending()).await;
    }
}
