//! Two processes on one database: whichever is asked, it is one server.

mod idle;
mod limits;
mod sharing;
mod starting;

use nahook_testserver::PostgresServer;
use serde_json::Value;

use crate::support::server::Server;

/// Two servers on a new database that holds what `manifest` declares.
async fn two(manifest: &Value) -> [Server; 2] {
    let url = PostgresServer::shared().create_database();
    Server::sharing(&url, manifest).await
}
