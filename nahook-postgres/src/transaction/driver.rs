//! Transactions of `tokio-postgres` and `deadpool-postgres`.

use nahook_core::Causes;
use tokio::join;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::sealed::{Call, Publish, Refusal};
use super::{RELEASE, SAVEPOINT, UNDO};
use crate::error::WriteEffect;

impl Publish for Transaction<'_> {
    async fn publish(&mut self, call: &Call<'_>) -> Result<Vec<bool>, Refusal> {
        publish(self, call).await
    }
}

impl Publish for deadpool_postgres::Transaction<'_> {
    async fn publish(&mut self, call: &Call<'_>) -> Result<Vec<bool>, Refusal> {
        publish(self, call).await
    }
}

/// In one round trip.
async fn publish(transaction: &Transaction<'_>, call: &Call<'_>) -> Result<Vec<bool>, Refusal> {
    let parameters = [
        (&call.id as _, Type::TEXT),
        (&call.workspace as _, Type::TEXT),
        (&call.event_type as _, Type::TEXT),
        (&call.event_type_name as _, Type::TEXT),
        (&call.accepted_at as _, Type::INT8),
        (&call.metadata as _, Type::TEXT),
        (&call.payload as _, Type::BYTEA),
        (&call.ordinals as _, Type::INT4_ARRAY),
        (&call.endpoints as _, Type::TEXT_ARRAY),
    ];
    // Sent in this order, without waiting for one another's answers. If the first fails there is no transaction, or it
    // has failed before: then the others fail, too.
    let (saved, published, released) = join!(
        transaction.batch_execute(SAVEPOINT),
        transaction.query_typed_one(call.statement, &parameters),
        transaction.batch_execute(RELEASE),
    );
    if saved.is_err() {
        return Err(Refusal::Lost);
    }
    match (published, released) {
        (Ok(row), Ok(())) => row.try_get(0).map_err(|_| Refusal::Lost),
        (Ok(_), Err(_)) => Err(Refusal::Lost),
        (Err(error), _) => {
            let undo = async {
                transaction.batch_execute(UNDO).await?;
                transaction.batch_execute(RELEASE).await
            };
            undo.await.map_err(|_| Refusal::Lost)?;
            tracing::warn!(error = %Causes(&error), "publishing in a transaction failed");
            Err(WriteEffect::of(&error).into())
        }
    }
}
