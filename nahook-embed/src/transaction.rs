//! Triggering within a transaction of the app's own.

#[cfg(any(feature = "postgres", all(feature = "sqlite", feature = "sqlx")))]
use std::pin::Pin;

use nahook_core::{EventTypeName, NewEvent, Payload};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use nahook_core::{Receipt, TriggerError};
use serde::Serialize;

use crate::Hooks;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::HooksError;

/// A transaction that webhooks can be queued in.
///
/// - With the feature `sqlite`, `rusqlite::Transaction`, `rusqlite::Savepoint` and `rusqlite::Connection`. The answer is there when the
///   call returns, as with any statement of `rusqlite`. With `sqlx` also `sqlx::SqliteTransaction` and `sqlx::SqliteConnection`,
///   whose answer is a future.
/// - With the feature `postgres`, `tokio_postgres::Transaction`, `deadpool_postgres::Transaction`, and with `sqlx` also
///   `sqlx::PgTransaction` and `sqlx::PgConnection`. The answer is a future.
///
/// It is implemented here and nowhere else; `Store` is found by the compiler. See [`Hooks::trigger_in`].
pub trait AppTransaction<Store>: sealed::Trigger<Store> {}

impl<Store, T: sealed::Trigger<Store>> AppTransaction<Store> for T {}

/// Outcome of a trigger in a transaction.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
type Answer = Result<Receipt, HooksError>;

/// The same, still to come.
#[cfg(any(feature = "postgres", all(feature = "sqlite", feature = "sqlx")))]
type FutureAnswer<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Types that only this crate can name, and so implement.
pub(crate) mod sealed {
    use nahook_core::NewEvent;

    use crate::{Hooks, HooksError};

    /// Marks transactions on Postgres.
    #[cfg(feature = "postgres")]
    #[derive(Debug)]
    pub enum Postgres {}

    /// Marks transactions on a file.
    #[cfg(feature = "sqlite")]
    #[derive(Debug)]
    pub enum Sqlite {}

    /// Queues the event in the transaction.
    pub trait Trigger<Store> {
        /// A receipt or an error, or the future of one.
        type Answer<'a>
        where
            Self: 'a;

        /// `event` is an error where its type or its payload is none.
        fn trigger<'a>(
            &'a mut self,
            hooks: &'a Hooks,
            event: Result<NewEvent, HooksError>,
        ) -> Self::Answer<'a>;
    }
}

impl Hooks {
    /// Queues the deliveries of the payload within the app's own transaction: once it commits, and not if it does not. The
    /// transaction has to be on the store's database or file.
    ///
    /// With `rusqlite` the answer is there at once, otherwise it is a future. What is queued is sent within milliseconds after the
    /// commit, by whichever process runs; after a crash by the next.
    ///
    /// An event type that is [made for it](crate::HooksBuilder::create_event_types) is part of the transaction on a file; on Postgres
    /// it stays when the transaction is rolled back.
    ///
    /// # Errors
    /// An error leaves the transaction as it was before. A receipt counts once the transaction has committed.
    ///
    /// # Cancellation
    /// Dropping the future leaves the transaction in an unknown state: roll it back.
    ///
    /// ```no_run
    /// use nahook_embed::Hooks;
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut app = rusqlite::Connection::open("shop.db")?;
    /// let hooks = Hooks::open("sqlite://shop.db").await?;
    /// let mut tx = app.transaction()?;
    /// tx.execute("INSERT INTO orders (id) VALUES ('ord_123')", [])?;
    /// hooks.trigger_in(&mut tx, "order.paid", &json!({"order": "ord_123"}))?;
    /// tx.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trigger_in<'a, Store, T: AppTransaction<Store>>(
        &'a self,
        transaction: &'a mut T,
        event_type: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> T::Answer<'a> {
        let event = || {
            Ok(NewEvent::new(
                EventTypeName::new(event_type)?,
                Payload::of(payload)?,
            ))
        };
        transaction.trigger(self, event())
    }

    #[cfg(feature = "sqlite")]
    fn trigger_on_file(
        &self,
        connection: &rusqlite::Connection,
        event: Result<NewEvent, HooksError>,
    ) -> Answer {
        let event = event?;
        let store = self
            .shared
            .backend
            .sqlite()
            .ok_or(HooksError::NotOnSqlite)?;
        let answer = store.trigger_in(connection, &event, self.scope());
        if self.shared.creates_event_types && matches!(answer, Err(TriggerError::UnknownEventType))
        {
            store.ensure_event_type_in(connection, &event.event_type, self.workspace)?;
            return Ok(store.trigger_in(connection, &event, self.scope())?);
        }
        Ok(answer?)
    }

    #[cfg(all(feature = "sqlite", feature = "sqlx"))]
    async fn trigger_by_sqlx(
        &self,
        connection: &mut sqlx::SqliteConnection,
        event: Result<NewEvent, HooksError>,
    ) -> Answer {
        let (event, scope) = (event?, self.scope());
        let store = self.shared.backend.sqlite();
        let store = store.ok_or(HooksError::NotOnSqlite)?;
        let answer = store.trigger_in_sqlx(connection, &event, scope).await;
        if self.shared.creates_event_types && matches!(answer, Err(TriggerError::UnknownEventType))
        {
            store
                .ensure_event_type_in_sqlx(connection, &event.event_type, self.workspace)
                .await?;
            return Ok(store.trigger_in_sqlx(connection, &event, scope).await?);
        }
        Ok(answer?)
    }

    #[cfg(feature = "postgres")]
    async fn trigger_on_postgres<T: nahook_postgres::CallersTransaction>(
        &self,
        transaction: &mut T,
        event: Result<NewEvent, HooksError>,
    ) -> Answer {
        let event = event?;
        let store = self.shared.backend.postgres();
        let store = store.ok_or(HooksError::NotOnPostgres)?;
        let answer = store.trigger_in(transaction, &event, self.scope()).await;
        if self.shared.creates_event_types && matches!(answer, Err(TriggerError::UnknownEventType))
        {
            self.ensure_event_type(event.event_type.as_str()).await?;
            return Ok(store.trigger_in(transaction, &event, self.scope()).await?);
        }
        Ok(answer?)
    }
}

#[cfg(feature = "postgres")]
impl<T: nahook_postgres::CallersTransaction> sealed::Trigger<sealed::Postgres> for T {
    type Answer<'a>
        = FutureAnswer<'a>
    where
        T: 'a;

    fn trigger<'a>(
        &'a mut self,
        hooks: &'a Hooks,
        event: Result<NewEvent, HooksError>,
    ) -> Self::Answer<'a> {
        Box::pin(hooks.trigger_on_postgres(self, event))
    }
}

/// The types of `rusqlite` that lead to a connection.
#[cfg(feature = "sqlite")]
macro_rules! on_sqlite {
    ($($transaction:ty),*) => {$(
        impl sealed::Trigger<sealed::Sqlite> for $transaction {
            type Answer<'a>
                = Answer
            where
                Self: 'a;

            fn trigger<'a>(
                &'a mut self,
                hooks: &'a Hooks,
                event: Result<NewEvent, HooksError>,
            ) -> Answer {
                hooks.trigger_on_file(self, event)
            }
        }
    )*};
}

#[cfg(feature = "sqlite")]
on_sqlite!(
    rusqlite::Connection,
    rusqlite::Savepoint<'_>,
    rusqlite::Transaction<'_>
);

/// The types of `sqlx` that lead to a connection.
#[cfg(all(feature = "sqlite", feature = "sqlx"))]
macro_rules! by_sqlx {
    ($($transaction:ty),*) => {$(
        impl sealed::Trigger<sealed::Sqlite> for $transaction {
            type Answer<'a>
                = FutureAnswer<'a>
            where
                Self: 'a;

            fn trigger<'a>(
                &'a mut self,
                hooks: &'a Hooks,
                event: Result<NewEvent, HooksError>,
            ) -> FutureAnswer<'a> {
                Box::pin(hooks.trigger_by_sqlx(self, event))
            }
        }
    )*};
}

#[cfg(all(feature = "sqlite", feature = "sqlx"))]
by_sqlx!(sqlx::SqliteConnection, sqlx::SqliteTransaction<'_>);
