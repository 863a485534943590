//! The key that seals the secrets in the database, and rows from before there was one.

use nahook_control::{
    EndpointKind, MasterKeyError, MasterKeys, Opening, RotateError, SealError, SecretBox,
    SecretColumns, SecretText,
};
use tokio_postgres::Row;

use crate::ConnectError;
use crate::error::PgError;
use crate::lender::Lender;
use crate::row::{coded_at, parsed_at, value_at};
use crate::statement::Opening as Begin;

const WRAPPED: &str = "SELECT wrapped FROM secret_key";

/// The first endpoints behind the one with the id $1 whose secrets are not sealed.
const PLAIN: &str = "
SELECT e.id, w.id, e.kind, e.url, e.config, e.auth_password, e.secret, e.previous_secret
FROM endpoint e JOIN workspace w ON w.row = e.workspace
WHERE e.row > coalesce((SELECT o.row FROM endpoint o WHERE o.id = $1), 0)
    AND e.deleted_at IS NULL AND left(e.secret, 1) <> chr(1)
ORDER BY e.row LIMIT 100 FOR NO KEY UPDATE OF e SKIP LOCKED";

const SEAL: &str = "
UPDATE endpoint SET url = $2, config = $3, auth_password = $4, secret = $5, previous_secret = $6
WHERE id = $1 RETURNING 1";

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

/// Wraps the database's key with the first of these. Returns false if it already was, or if there is none.
pub(crate) async fn rotate(lender: &Lender, master: &MasterKeys) -> Result<bool, RotateError> {
    let failed = |error: PgError| RotateError::Store(error.into());
    while let Some(before) = wrapped(lender).await.map_err(failed)? {
        let Some(after) = master.rewrap(&before)? else {
            break;
        };
        let replace = "UPDATE secret_key SET wrapped = $1 WHERE wrapped = $2 RETURNING 1";
        let rows = lender.query(replace, &[&after, &before]).await;
        // Otherwise another process has just wrapped it.
        if !rows.map_err(failed)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Seals the secrets of endpoints behind the one with that id, a bounded number of them. Returns the id of the last one, if
/// there was any. Rows that somebody is changing are left to the next time.
pub(crate) async fn seal_some(
    lender: &Lender,
    secrets: &SecretBox,
    after: &str,
) -> Result<Option<String>, PgError> {
    let mut lent = lender.lend().await?;
    lent.begin(Begin::PLAIN).await?;
    let sealed = async {
        let rows = lent.query(PLAIN, &[&after]).await?;
        for row in &rows {
            let mut columns = columns_at(row)?;
            secrets.seal(&mut columns).map_err(unsealable)?;
            let config = serde_json::to_string(&columns.config);
            let config = config.map_err(PgError::unreadable)?;
            let text = |secret: &Option<SecretText>| {
                let secret = secret.as_ref();
                secret.map(|secret| secret.expose().to_owned())
            };
            let (password, previous) = (text(&columns.password), text(&columns.previous));
            let id = columns.id.as_str();
            let secret = columns.secret.expose();
            lent.query(
                SEAL,
                &[&id, &columns.url, &config, &password, &secret, &previous],
            )
            .await?;
        }
        rows.last().map(|row| value_at(row, 0)).transpose()
    };
    let sealed = sealed.await;
    lent.conclude(sealed.is_ok()).await?;
    sealed
}

fn columns_at(row: &Row) -> Result<SecretColumns, PgError> {
    let secret_at = |column| {
        let text: Option<&str> = value_at(row, column)?;
        Ok::<_, PgError>(text.map(SecretText::new))
    };
    Ok(SecretColumns {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        kind: coded_at(row, 2, EndpointKind::from_code)?,
        url: value_at(row, 3)?,
        config: serde_json::from_str(value_at(row, 4)?).map_err(PgError::unreadable)?,
        password: secret_at(5)?,
        secret: SecretText::new(value_at::<&str>(row, 6)?),
        previous: secret_at(7)?,
    })
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
