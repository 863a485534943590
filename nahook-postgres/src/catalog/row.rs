//! Between the catalog's columns and ours.

use std::num::NonZeroU32;
use std::time::Duration;

use nahook_control::KeyHash;
use nahook_core::admission::{Plan, Rate};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::row::value_at;

/// Columns of the plan of the workspace `w`, in the order that [`plan_at`] reads.
macro_rules! plan_columns {
    () => {
        "w.payload_len_max, w.workspace_rate_interval, w.workspace_rate_burst, w.key_rate_interval, w.key_rate_burst,
            w.delivery_rate_interval, w.delivery_rate_burst, w.pending_max, w.stored_len_max, w.endpoints_max"
    };
}
pub(crate) use plan_columns;

/// A plan in the columns from there on. What is absent is from before there was such a limit: its default holds.
pub(crate) fn plan_at(row: &Row, column: usize) -> Result<Plan, PgError> {
    let payload_len_max: i64 = value_at(row, column)?;
    let number = |place: usize| {
        let number: Option<i64> = value_at(row, column + place)?;
        Ok::<_, PgError>(number.map(i64::unsigned_abs))
    };
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Plan {
        payload_len_max: usize::try_from(payload_len_max).unwrap_or(usize::MAX),
        workspace_rate: rate_at(row, column + 1)?,
        key_rate: rate_at(row, column + 3)?,
        delivery_rate: rate_at(row, column + 5)?,
        pending_max: number(7)?.map_or(Plan::PENDING_MAX_DEFAULT, narrow),
        stored_len_max: number(8)?.unwrap_or(Plan::STORED_LEN_MAX_DEFAULT),
        endpoints_max: number(9)?.map_or(Plan::ENDPOINTS_MAX_DEFAULT, narrow),
    })
}

fn rate_at(row: &Row, column: usize) -> Result<Option<Rate>, PgError> {
    let interval: Option<i64> = value_at(row, column)?;
    let burst: Option<i64> = value_at(row, column + 1)?;
    let Some((interval, burst)) = interval.zip(burst) else {
        return Ok(None);
    };
    let interval = Duration::from_nanos(u64::try_from(interval).unwrap_or(0));
    let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new);
    let rate = burst.and_then(|burst| Rate::new(NonZeroU32::MIN, interval, burst));
    rate.map(Some)
        .ok_or_else(|| PgError::unreadable("no such rate"))
}

/// A rate as it is stored: its interval and its burst.
pub(crate) fn rate_columns(rate: Option<Rate>) -> (Option<i64>, Option<i64>) {
    let interval = rate.map(|rate| i64::try_from(rate.interval().as_nanos()).unwrap_or(i64::MAX));
    (interval, rate.map(|rate| i64::from(rate.burst().get())))
}

/// A key's hash.
pub(crate) fn hash_at(row: &Row, column: usize) -> Result<KeyHash, PgError> {
    let bytes: &[u8] = value_at(row, column)?;
    let bytes = bytes.try_into().map_err(PgError::unreadable)?;
    Ok(KeyHash::from_bytes(bytes))
}
