//! Statements: prepared on a session of our own, or sent whole where the session may be another's the next time.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use crate::parameter::Parameter;

/// A statement, ready to be run.
pub(crate) enum Prepared<'a> {
    /// The session knows it.
    Named(Statement),
    /// The server is told all of it each time, and keeps nothing.
    Unnamed(&'a str),
}

/// Result of a statement.
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    /// Number of rows read or written.
    pub(crate) count: u64,
}

impl Prepared<'_> {
    /// Sends the statement at the first poll, and waits for its answer.
    pub(crate) async fn run(
        &self,
        client: &Client,
        parameters: &[&dyn Parameter],
    ) -> Result<Answer, Error> {
        let stream = match self {
            Self::Named(statement) => {
                let values = parameters.iter().map(|one| *one as &(dyn ToSql + Sync));
                client.query_raw(statement, values).await?
            }
            Self::Unnamed(statement) => {
                let typed = parameters
                    .iter()
                    .map(|one| (*one as &(dyn ToSql + Sync), one.kind()));
                client.query_typed_raw(statement, typed).await?
            }
        };
        let mut stream = pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        let count = stream.rows_affected().unwrap_or(0);
        Ok(Answer { rows, count })
    }
}

/// Statements that begin a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) begin: &'static str,
    /// Settings of this transaction beyond the usual ones.
    pub(crate) further: &'static str,
}

impl Opening {
    /// As the server is set up.
    pub(crate) const PLAIN: Self = Self {
        begin: "BEGIN",
        further: "",
    };

    /// The statements, with the settings that the session does not bring along.
    pub(crate) fn text(self, settings: Option<&str>) -> String {
        let parts = [self.begin, settings.unwrap_or_default(), self.further];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("; ")
    }
}

/// A name as SQL writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
