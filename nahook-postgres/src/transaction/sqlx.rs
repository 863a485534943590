//! Transactions of `sqlx`.

use nahook_core::Causes;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use sqlx::{AssertSqlSafe, PgConnection, PgTransaction, Row as _};

use super::sealed::{Call, Publish, Refusal};
use super::{RELEASE, SAVEPOINT, UNDO};
use crate::error::WriteEffect;

impl Publish for PgTransaction<'_> {
    async fn publish(&mut self, call: &Call<'_>) -> Result<Vec<bool>, Refusal> {
        publish(self, call).await
    }
}

impl Publish for PgConnection {
    async fn publish(&mut self, call: &Call<'_>) -> Result<Vec<bool>, Refusal> {
        publish(self, call).await
    }
}

async fn publish(connection: &mut PgConnection, call: &Call<'_>) -> Result<Vec<bool>, Refusal> {
    execute(connection, SAVEPOINT)
        .await
        .map_err(|_| Refusal::Lost)?;
    // The schema's name is quoted, and the only thing that is not ours.
    let published = sqlx::query(AssertSqlSafe(call.statement))
        .bind(&call.id)
        .bind(call.workspace)
        .bind(call.event_type)
        .bind(call.event_type_name)
        .bind(call.accepted_at)
        .bind(call.metadata)
        .bind(call.payload)
        .bind(&call.ordinals)
        .bind(&call.endpoints)
        .fetch_one(&mut *connection)
        .await;
    match published {
        Ok(row) => {
            execute(connection, RELEASE)
                .await
                .map_err(|_| Refusal::Lost)?;
            row.try_get(0).map_err(|_| Refusal::Lost)
        }
        Err(error) => {
            execute(connection, UNDO).await.map_err(|_| Refusal::Lost)?;
            execute(connection, RELEASE)
                .await
                .map_err(|_| Refusal::Lost)?;
            tracing::warn!(error = %Causes(&error), "publishing in a transaction failed");
            Err(effect(&error).into())
        }
    }
}

async fn execute(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(|_| ())
}

fn effect(error: &sqlx::Error) -> WriteEffect {
    let said = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    match said {
        Some(said) if said.severity() == PgSeverity::Error => WriteEffect::of_code(said.code()),
        _ => WriteEffect::Unclear,
    }
}
