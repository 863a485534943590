//! Idempotency keys, and the deliveries that they stand for.

use nahook_core::id::{DeliveryId, MessageId};
use nahook_core::{IdempotencyKey, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::row::{message_at, nanos};
use crate::writer::Session;

/// Number of expired keys deleted for each that is claimed: more than one, so that they cannot pile up.
const FORGOTTEN_PER_CLAIM: i64 = 2;

/// Returns the delivery that the key stands for now.
fn original(
    session: &Session,
    endpoint: i64,
    key: &IdempotencyKey,
    now: Timestamp,
) -> rusqlite::Result<Option<DeliveryId>> {
    let found = session
        .connection()
        .prepare_cached(
            "SELECT message FROM nahook_idempotency_key
             WHERE endpoint = ?1 AND key = ?2 AND claimed_at > ?3",
        )?
        .query_row(
            params![endpoint, key.as_str().as_bytes(), over_before(now)],
            |row| message_at(row, 0),
        )
        .optional()?;
    Ok(found.map(|message| DeliveryId::nth(message, 0)))
}

/// Claims the key for the message's delivery, unless it stands for another one: then that is answered. Forgets some of those that
/// have run out.
pub(crate) fn claim(
    session: &Session,
    endpoint: i64,
    key: &IdempotencyKey,
    message: MessageId,
    now: Timestamp,
) -> rusqlite::Result<Option<DeliveryId>> {
    match original(session, endpoint, key, now)? {
        Some(original) if original == DeliveryId::nth(message, 0) => return Ok(None),
        None => {}
        other => return Ok(other),
    }
    let connection = session.connection();
    connection
        .prepare_cached(
            "INSERT INTO nahook_idempotency_key (endpoint, key, message, claimed_at)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET message = excluded.message, claimed_at = excluded.claimed_at",
        )?
        .execute(params![
            endpoint,
            key.as_str().as_bytes(),
            message.as_bits().to_be_bytes().as_slice(),
            nanos(now),
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM nahook_idempotency_key WHERE (endpoint, key) IN
                 (SELECT endpoint, key FROM nahook_idempotency_key
                  WHERE claimed_at <= ?1 ORDER BY claimed_at LIMIT ?2)",
        )?
        .execute(params![over_before(now), FORGOTTEN_PER_CLAIM])?;
    Ok(None)
}

/// Keys claimed then or before have run out at `now`.
fn over_before(now: Timestamp) -> i64 {
    let window = u64::try_from(IdempotencyKey::WINDOW.as_nanos()).unwrap_or(u64::MAX);
    let before = now.as_nanos().checked_sub(window);
    // Within a day of 1970: no key can have been claimed a day before.
    before.map_or(-1, |before| nanos(Timestamp::from_nanos(before)))
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_runs_out_after_twenty_four_hours() {
        let claimed_at = Timestamp::from_millis(1_767_225_600_000);
        let hours = |count: u64| claimed_at.as_nanos() + count * 3_600_000_000_000;
        let is_over = |now| nanos(claimed_at) <= over_before(Timestamp::from_nanos(now));
        for (now, expected) in [
            (hours(0), false),
            (hours(23), false),
            (hours(24) - 1, false),
            (hours(24), true),
            (hours(25), true),
        ] {
            assert_eq!(is_over(now), expected, "{now}");
        }
        // A clock that begins with the epoch: nothing can have run out on its first day.
        let day = Timestamp::from_nanos(86_400_000_000_000 - 1);
        assert_eq!(over_before(day), -1);
    }
}
