//! Between Postgres's values and ours.

use std::error::Error as StdError;
use std::str::FromStr;

use bytes::{BufMut as _, BytesMut};
use nahook_core::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::error::PgError;

/// The ordinals that a delivery's key has room for.
pub(crate) const ORDINAL_BITS: u32 = 20;

/// The delivery's key: its event's number and its ordinal. `None` if the ordinal does not fit.
pub(crate) fn delivery_key(seq: i64, ordinal: u32) -> Option<i64> {
    (ordinal >> ORDINAL_BITS == 0).then(|| seq << ORDINAL_BITS | i64::from(ordinal))
}

/// The event's number and the ordinal in a delivery's key.
pub(crate) fn split_key(key: i64) -> (i64, u32) {
    let ordinal = key & ((1 << ORDINAL_BITS) - 1);
    (key >> ORDINAL_BITS, u32::try_from(ordinal).unwrap_or(0))
}

/// 128 bits, which Postgres keeps and compares as a `uuid`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bits(pub(crate) u128);

impl ToSql for Bits {
    fn to_sql(
        &self,
        _ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_u128(self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Bits {
    fn from_sql(_ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(u128::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

/// An instant as it is stored: those after the year 2262 as the last moment of it.
pub(crate) fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

/// An instant as it was stored.
pub(crate) fn instant(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// A value in a column.
pub(crate) fn value_at<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, PgError> {
    row.try_get(column).map_err(PgError::unreadable)
}

/// A value in a column that holds its number.
pub(crate) fn coded_at<T>(
    row: &Row,
    column: usize,
    from_code: fn(i64) -> Option<T>,
) -> Result<T, PgError> {
    let code = value_at::<i16>(row, column)?;
    from_code(code.into()).ok_or_else(|| PgError::unreadable("no such code"))
}

/// An instant in a column.
pub(crate) fn instant_at(row: &Row, column: usize) -> Result<Timestamp, PgError> {
    value_at(row, column).map(instant)
}

/// An instant in a column that may be null.
pub(crate) fn maybe_instant_at(row: &Row, column: usize) -> Result<Option<Timestamp>, PgError> {
    Ok(value_at::<Option<i64>>(row, column)?.map(instant))
}

/// An id or a name in a column.
pub(crate) fn parsed_at<T>(row: &Row, column: usize) -> Result<T, PgError>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
{
    value_at::<&str>(row, column)?
        .parse()
        .map_err(PgError::unreadable)
}

/// An id or a name in a column that may be null.
pub(crate) fn maybe_parsed_at<T>(row: &Row, column: usize) -> Result<Option<T>, PgError>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
{
    value_at::<Option<&str>>(row, column)?
        .map(str::parse)
        .transpose()
        .map_err(PgError::unreadable)
}
