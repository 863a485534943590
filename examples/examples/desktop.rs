//! A desktop app on one SQLite file: each line of its input is a note, saved together with its webhooks.
//!
//! ```sh
//! cargo run -p nahook-examples --example desktop -- notes.db http://127.0.0.1:3002/hooks/notes
//! ```
use std::error::Error;
use std::io::{self, BufRead as _};

use nahook_embed::Hooks;
use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;
use tokio::{sync::oneshot, task};

/// Secret that the receiver verifies with. A real app lets it be drawn, and shows it to the customer.
const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let file = argument("notes.db");
    let receiver = argument("http://127.0.0.1:3002/hooks/notes");

    // The app's tables and the store's are in one file; the store's names begin with `nahook_`.
    let app = Connection::open(&file)?;
    app.execute_batch("CREATE TABLE IF NOT EXISTS note (text TEXT)")?;
    let hooks = Hooks::builder(&format!("sqlite://{file}"));
    let hooks = hooks.allow_endpoint_range("127.0.0.0/8".parse()?);
    let hooks = hooks.open().await?;
    if hooks.endpoints().await?.is_empty() {
        let endpoint = hooks.create_endpoint(&receiver).on("note.saved");
        endpoint.secret(SECRET).await?;
    }

    let (closing, closed) = oneshot::channel::<()>();
    let saving = task::spawn_blocking({
        let hooks = hooks.clone();
        move || save_notes(app, &hooks, closing)
    });
    // Delivers until the window is closed.
    hooks.run(async { drop(closed.await) }).await;
    saving.await??;
    Ok(hooks.close().await?)
}

fn save_notes(
    mut app: Connection,
    hooks: &Hooks,
    _closing: oneshot::Sender<()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for text in io::stdin().lock().lines() {
        let text = text?;
        let mut tx = app.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute("INSERT INTO note VALUES (?1)", [&text])?;
        hooks.trigger_in(&mut tx, "note.saved", &json!({ "text": text }))?;
        tx.commit()?;
    }
    Ok(())
}
