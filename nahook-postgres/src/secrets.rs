//! The key that seals the secrets in the database, and rows from before there was one.

use nahook_control::{
    Change, MasterKeyError, MasterKeys, Opening, Record, RotateError, SealError, SecretBox, Verb,
};
use nahook_core::Timestamp;

use crate::ConnectError;
use crate::catalog::{Failure, read, write};
use crate::error::PgError;
use crate::lender::Lender;
use crate::row::value_at;
use crate::statement::Opening as Begin;
use crate::store::PostgresStore;

const WRAPPED: &str = "SELECT wrapped FROM secret_key";

/// Opens the database's secrets, or has it keep a key of its own if it is the first time that it is opened with one of the
/// operator's.
pub(crate) async fn open(
    lender: &Lender,
    master: Option<&MasterKeys>,
) -> Result<SecretBox, ConnectError> {
    loop {
        let wrapped = wrapped(lender).await?;
        match SecretBox::open(master, wrapped.as_deref())? {
            Opening::Ready(secrets) => return Ok(secrets),
            Opening::Keep(wrapped) => {
                // Another process may just have done the same: what is in the database counts.
                let keep = "INSERT INTO secret_key VALUES (1, $1) ON CONFLICT DO NOTHING";
                lender.query(keep, &[&wrapped]).await?;
            }
        }
    }
}

async fn wrapped(lender: &Lender) -> Result<Option<String>, PgError> {
    let rows = lender.query(WRAPPED, &[]).await?;
    rows.first().map(|row| value_at(row, 0)).transpose()
}

impl PostgresStore {
    /// Seals and opens what the store keeps.
    pub fn secrets(&self) -> &SecretBox {
        &self.shared().secrets
    }

    /// Wraps the store's key with the first of these, which one of them has wrapped before. Returns false if it already
    /// was. Processes that have the store open go on as they were; their next start needs the new key.
    pub async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        let failed = |error: PgError| RotateError::Store(error.into());
        let lender = &self.shared().lender;
        loop {
            let wrapped = wrapped(lender).await.map_err(failed)?;
            let Some(before) = wrapped else {
                return Ok(false);
            };
            let Some(after) = master.rewrap(&before)? else {
                return Ok(false);
            };
            let replace = "UPDATE secret_key SET wrapped = $1 WHERE wrapped = $2 RETURNING 1";
            let rows = lender.query(replace, &[&after, &before]).await;
            // Otherwise another process has just wrapped it.
            if !rows.map_err(failed)?.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Seals the secrets of endpoints behind the one with that id, a bounded number of them. Returns the id of the last one, if
/// there was any. Rows that somebody is changing are left to the next time.
pub(crate) async fn seal_some(
    lender: &Lender,
    secrets: &SecretBox,
    after: &str,
    now: Timestamp,
) -> Result<Option<String>, PgError> {
    let mut lent = lender.lend().await?;
    lent.begin(Begin::PLAIN).await?;
    let sealed = async {
        let rows = lent.query(read::PLAIN_ENDPOINTS, &[&after]).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut row = read::endpoint_at(row)?;
            secrets.seal_endpoint(&mut row).map_err(unsealable)?;
            changes.push(Change::new(Verb::Update, Record::Endpoint(row)));
        }
        let written = write::write(&mut lent, &changes, Vec::new(), now).await;
        written.map_err(|failure| match failure {
            Failure::Database(error) => error,
            Failure::Catalog(error) => PgError::unreadable(error),
        })?;
        rows.last().map(|row| value_at(row, 0)).transpose()
    };
    let sealed = sealed.await;
    lent.conclude(sealed.is_ok()).await?;
    sealed
}

/// An error of sealing or opening, where a statement's is expected.
pub(crate) fn unsealable(error: SealError) -> PgError {
    PgError::unreadable(error)
}

impl From<MasterKeyError> for ConnectError {
    fn from(error: MasterKeyError) -> Self {
        Self::SecretKey(error)
    }
}
