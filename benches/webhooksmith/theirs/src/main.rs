//! `webhooksmith`, by its defaults.

#[path = "../../measure.rs"]
mod measure;

use measure::{Failure, Library, payload, run};
use webhooksmith::{SqliteEngine, WebhookEngine};

enum Engine {
    Postgres(WebhookEngine),
    Sqlite(SqliteEngine),
}

impl Library for Engine {
    async fn open(store: &str, receiver: &str, endpoints: usize) -> Result<Self, Failure> {
        let secret = "a-signing-secret-of-32-characters";
        if let Some(file) = store.strip_prefix("sqlite://") {
            let engine = SqliteEngine::builder().database_url(format!("sqlite:{file}?mode=rwc"));
            let engine = engine.allow_insecure_urls().build().await?;
            engine.migrate().await?;
            for n in 0..endpoints {
                engine.register(&format!("{receiver}/{n}"), secret).await?;
            }
            return Ok(Self::Sqlite(engine));
        }
        let engine = WebhookEngine::builder().database_url(store);
        let engine = engine.allow_insecure_urls().build().await?;
        engine.migrate().await?;
        for n in 0..endpoints {
            engine.register(&format!("{receiver}/{n}"), secret).await?;
        }
        Ok(Self::Postgres(engine))
    }

    async fn fan_out(&self) -> Result<usize, Failure> {
        let queued = match self {
            Self::Postgres(engine) => engine.broadcast("order.paid", payload()).await?,
            Self::Sqlite(engine) => engine.broadcast("order.paid", payload()).await?,
        };
        Ok(queued.len())
    }

    async fn deliver(&self) {
        match self {
            Self::Postgres(engine) => engine.run().await,
            Self::Sqlite(engine) => engine.run().await,
        };
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run::<Engine>(&arguments).await
}
