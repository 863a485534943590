//! Between SQLite's values and ours.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use nahook_core::Timestamp;
use nahook_core::admission::{Plan, Rate};
use nahook_core::id::MessageId;
use nahook_queue::DeliveryStatus;
use rusqlite::Row;
use rusqlite::types::Type;

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

/// An instant as it is stored: those after the year 2262 as the last moment of it.
pub(crate) fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

/// An instant as it was stored.
pub(crate) fn instant(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// An instant in a column.
pub(crate) fn instant_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(instant)
}

/// An instant in a column that may be null.
pub(crate) fn maybe_instant_at(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(instant))
}

/// An id or a name in a column.
pub(crate) fn parsed_at<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| unreadable(column, error))
}

/// An id or a name in a column that may be null.
pub(crate) fn maybe_parsed_at<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|error| unreadable(column, error)),
        None => Ok(None),
    }
}

/// A length of time in a column.
pub(crate) fn duration_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    let nanos: i64 = row.get(column)?;
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

/// A number of rows in a column.
pub(crate) fn count_at(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads a column that holds JSON.
pub(crate) fn json_at<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let json = row.get_ref(column)?.as_str()?;
    serde_json::from_str(json).map_err(|error| unreadable(column, error))
}

/// The error for a column that holds what we would not have written.
pub(crate) fn unreadable(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, error.into())
}

/// Added to the code of a delivery that a queue elsewhere carries, so that nothing of it is leased.
pub(crate) const ELSEWHERE: i64 = 5;

/// The codes of a status: the store's own, and that of deliveries in another queue. None for one that is known by the lease.
pub(crate) fn status_codes(status: DeliveryStatus) -> impl Iterator<Item = i64> {
    let code = status.code().map(i64::from);
    code.into_iter().flat_map(|code| [code, code + ELSEWHERE])
}

/// A delivery's status in a column, in whichever queue it is.
pub(crate) fn status_at(row: &Row<'_>, column: usize) -> rusqlite::Result<DeliveryStatus> {
    let stored: i64 = row.get(column)?;
    let own = DeliveryStatus::from_code(stored);
    own.or_else(|| DeliveryStatus::from_code(stored - ELSEWHERE))
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, stored))
}

/// A message's id in a column.
pub(crate) fn message_at(row: &Row<'_>, column: usize) -> rusqlite::Result<MessageId> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(MessageId::from_bits(u128::from_be_bytes(bytes)))
}

/// A value in a column that holds its number.
pub(crate) fn coded_at<T>(
    row: &Row<'_>,
    column: usize,
    from_code: fn(i64) -> Option<T>,
) -> rusqlite::Result<T> {
    let code = row.get(column)?;
    from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// Columns of a plan, in the order that [`plan_at`] reads.
macro_rules! plan_columns {
    () => {
        "payload_len_max, workspace_rate_interval, workspace_rate_burst, key_rate_interval, key_rate_burst,
         delivery_rate_interval, delivery_rate_burst, pending_max, stored_len_max, endpoints_max"
    };
}
pub(crate) use plan_columns;

/// A plan in the columns from `first` on. What is absent is from before there was such a limit: its default holds.
pub(crate) fn plan_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Plan> {
    let payload_len_max: i64 = row.get(first)?;
    Ok(Plan {
        payload_len_max: usize::try_from(payload_len_max.cast_unsigned()).unwrap_or(usize::MAX),
        workspace_rate: rate_at(row, first + 1)?,
        key_rate: rate_at(row, first + 3)?,
        delivery_rate: rate_at(row, first + 5)?,
        pending_max: row
            .get::<_, Option<u32>>(first + 7)?
            .unwrap_or(Plan::PENDING_MAX_DEFAULT),
        stored_len_max: row
            .get::<_, Option<i64>>(first + 8)?
            .map_or(Plan::STORED_LEN_MAX_DEFAULT, i64::cast_unsigned),
        endpoints_max: row
            .get::<_, Option<u32>>(first + 9)?
            .unwrap_or(Plan::ENDPOINTS_MAX_DEFAULT),
    })
}

fn rate_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Rate>> {
    if row.get::<_, Option<i64>>(column)?.is_none() {
        return Ok(None);
    }
    let interval = duration_at(row, column)?;
    let burst = row.get::<_, u32>(column + 1).map(NonZeroU32::new)?;
    // A token each interval: the same rate, however it was declared.
    burst
        .and_then(|burst| Rate::new(NonZeroU32::MIN, interval, burst))
        .map(Some)
        .ok_or_else(|| unreadable(column, "not a rate"))
}

/// A rate's interval and burst as they are stored.
pub(crate) fn rate_parts(rate: Option<Rate>) -> (Option<i64>, Option<u32>) {
    let interval = rate.and_then(|rate| i64::try_from(rate.interval().as_nanos()).ok());
    (interval, rate.map(|rate| rate.burst().get()))
}
