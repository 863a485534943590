//! Instants as the API shows and reads them: ISO 8601, UTC (contract, section 2).

use nahook_core::Timestamp;

/// The instant with milliseconds: `2026-11-26T08:00:00.000Z`.
pub fn show(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    // Nanoseconds in 64 bits end in the year 2554, which any calendar holds.
    let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{instant:.3}")
}

/// Reads an instant with its offset from UTC, or a date as its first instant in UTC. What is before 1970 reads as 1970, and
/// what is too late as the last instant there is.
pub fn read(text: &str) -> Option<Timestamp> {
    // A text with a time but no offset leaves open which instant is meant.
    let midnight = (text.len() == DATE_LEN).then(|| format!("{text}T00:00:00Z"));
    let text = midnight.as_deref().unwrap_or(text);
    let instant: jiff::Timestamp = text.parse().ok()?;
    let nanos = instant.as_nanosecond();
    let clamped = u64::try_from(nanos).unwrap_or(if nanos < 0 { 0 } else { u64::MAX });
    Some(Timestamp::from_nanos(clamped))
}

/// Of `2026-11-26`.
const DATE_LEN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_survives_its_text() {
        let at = Timestamp::from_millis(1_795_680_000_123);
        assert_eq!(show(at), "2026-11-26T08:00:00.123Z");
        assert_eq!(read(&show(at)), Some(at));
        assert_eq!(show(Timestamp::default()), "1970-01-01T00:00:00.000Z");
        assert!(show(Timestamp::from_nanos(u64::MAX)).starts_with("2554-"));
    }

    #[test]
    fn offsets_and_dates_are_read_and_the_rest_is_not() {
        let noon = read("2026-11-26T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(read("2026-11-26T13:00:00+01:00"), noon);
        assert_eq!(read("2026-11-26"), read("2026-11-26T00:00:00Z"));
        assert_eq!(read("1815-12-10"), Some(Timestamp::default()));
        assert_eq!(read("9999-01-01"), Some(Timestamp::from_nanos(u64::MAX)));
        for bad in [
            "",
            "now",
            "1",
            "2026-13-01",
            "2026-11-26T12:00:00",
            "26.11.2026",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
