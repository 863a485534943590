//! Publishing inside a transaction of the caller's own: its data and the deliveries, or neither.

mod driver;
#[cfg(feature = "sqlx")]
mod sqlx;

use std::sync::Arc;
use std::time::Duration;

use nahook_core::id::EndpointId;
use nahook_core::{
    Delivery, DeliveryPublisher, Event, FailureKind, FanOut, NewEvent, Outcome, Receipt, Scope,
    TriggerError,
};
use tokio::sync::Mutex;

use self::sealed::{Call, Refusal};
use crate::row::delivery_key;
use crate::statement::quoted;
use crate::store::PostgresStore;
use crate::writer::{Written, metadata};

/// A transaction that an event can be published in: `tokio_postgres::Transaction`, `deadpool_postgres::Transaction`, and
/// with the feature `sqlx` also `sqlx::PgTransaction` and `sqlx::PgConnection`.
///
/// It is implemented here and nowhere else.
pub trait CallersTransaction: sealed::Publish {}

impl<T: sealed::Publish> CallersTransaction for T {}

/// Timeout of an event within a transaction whose own timeouts count: as good as none.
const TIMEOUT: Duration = Duration::from_hours(1);

impl PostgresStore {
    /// Queues `event` for every subscribed endpoint within `transaction`: once that commits, and not if it does not.
    ///
    /// The transaction has to be on a connection to the store's database, whose user may use the store's schema. What is
    /// checked and answered is as with [`FanOut::trigger`], but that there is no deadline but the transaction's own
    /// `statement_timeout`.
    ///
    /// # Errors
    /// Whatever fails here leaves the transaction as it was before, ready for more: the statements run within
    /// a savepoint. An endpoint that cannot be queued is among the receipt's failures. A receipt counts once the transaction
    /// has committed; until then no worker sees anything of it.
    ///
    /// # Cancellation
    /// Dropping the future leaves the transaction in an unknown state: roll it back.
    pub async fn trigger_in<T: CallersTransaction>(
        &self,
        transaction: &mut T,
        event: &NewEvent,
        scope: impl Into<Scope>,
    ) -> Result<Receipt, TriggerError> {
        let settings = &self.shared().settings;
        let publisher = TransactionPublisher {
            transaction: Mutex::new(transaction),
            statement: format!(
                "SELECT {}.publish($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9)",
                quoted(&settings.schema)
            ),
        };
        FanOut::new(self, publisher)
            .with_clock(Arc::clone(&settings.clock))
            .with_ids(Arc::clone(&settings.ids))
            .with_timeout(TIMEOUT)
            .trigger(event.clone(), scope)
            .await
    }
}

/// Types that only this crate can name, and so implement.
pub(crate) mod sealed {
    use nahook_core::FailureKind;

    use crate::error::WriteEffect;

    /// Runs the statement within a savepoint.
    pub trait Publish: Send {
        /// Which endpoints were taken, in their order.
        fn publish(
            &mut self,
            call: &Call<'_>,
        ) -> impl Future<Output = Result<Vec<bool>, Refusal>> + Send;
    }

    /// Arguments of the statement.
    #[derive(Debug)]
    pub struct Call<'a> {
        pub(crate) statement: &'a str,
        pub(crate) id: String,
        pub(crate) workspace: &'a str,
        pub(crate) event_type: Option<&'a str>,
        pub(crate) event_type_name: Option<&'a str>,
        pub(crate) accepted_at: i64,
        pub(crate) metadata: Option<&'a str>,
        pub(crate) payload: &'a [u8],
        pub(crate) ordinals: Vec<i32>,
        pub(crate) endpoints: Vec<&'a str>,
    }

    /// The statement has failed, and nothing of it is left in the transaction.
    #[derive(Clone, Copy, Debug)]
    pub enum Refusal {
        /// The transaction is lost, and everything in it.
        Lost,
        /// It has been undone for this reason, and the transaction goes on.
        Undone(FailureKind),
    }

    impl From<WriteEffect> for Refusal {
        fn from(effect: WriteEffect) -> Self {
            Self::Undone(match effect {
                WriteEffect::RolledBack { kind, .. } => kind,
                // Whatever it was: it has been rolled back to the savepoint.
                WriteEffect::Unclear => FailureKind::QueueUnavailable,
            })
        }
    }
}

/// The savepoint's name. It hides one of the caller's with the same name for a moment and gives it back.
pub(crate) const SAVEPOINT: &str = "SAVEPOINT nahook_trigger";
pub(crate) const RELEASE: &str = "RELEASE SAVEPOINT nahook_trigger";
pub(crate) const UNDO: &str = "ROLLBACK TO SAVEPOINT nahook_trigger";

/// Publishes in a transaction, one statement at a time.
struct TransactionPublisher<'a, T> {
    transaction: Mutex<&'a mut T>,
    statement: String,
}

impl<T: CallersTransaction> DeliveryPublisher for TransactionPublisher<'_, T> {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let mut transaction = self.transaction.lock().await;
        let slots: Vec<_> = deliveries
            .iter()
            .enumerate()
            .filter_map(|(place, slot)| {
                let ordinal = slot.id().ordinal(event.id)?;
                delivery_key(0, ordinal)?;
                Some((i32::try_from(ordinal).ok()?, slot.endpoint(), place))
            })
            .collect();
        // Definite from the beginning: what is not in the transaction will not be queued.
        let refused = Outcome::Failed(FailureKind::QueueUnavailable);
        Written::all(refused).resolve(deliveries);
        let metadata = metadata(event);
        let call = self.call(event, metadata.as_deref(), &slots);
        match transaction.publish(&call).await {
            Ok(taken) => {
                for ((_, _, place), taken) in slots.iter().zip(taken) {
                    if taken {
                        deliveries[*place].mark_published();
                    } else {
                        deliveries[*place].mark_failed(FailureKind::EndpointGone);
                    }
                }
            }
            Err(Refusal::Undone(kind)) => Written::all(Outcome::Failed(kind)).resolve(deliveries),
            Err(Refusal::Lost) => {}
        }
    }
}

impl<T> TransactionPublisher<'_, T> {
    fn call<'a>(
        &'a self,
        event: &'a Event,
        metadata: Option<&'a str>,
        slots: &'a [(i32, EndpointId, usize)],
    ) -> Call<'a> {
        Call {
            statement: &self.statement,
            id: format!("{:032x}", event.id.as_bits()),
            workspace: event.workspace.as_str(),
            event_type: event.event_type.as_ref().map(|of| of.id.as_str()),
            event_type_name: event.event_type.as_ref().map(|of| of.name.as_str()),
            accepted_at: crate::row::nanos(event.accepted_at),
            metadata,
            payload: event.payload.as_bytes(),
            ordinals: slots.iter().map(|slot| slot.0).collect(),
            endpoints: slots.iter().map(|slot| slot.1.as_str()).collect(),
        }
    }
}
