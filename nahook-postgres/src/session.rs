//! The settings of our sessions and transactions.
//!
//! A session of our own is started with them, as options: nothing is set on it afterwards, and no statement costs more
//! for it. A pooler that lends a session for one transaction does not take options, or drops them; there each transaction
//! sets them for itself.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::PostgresSettings;
use crate::statement::quoted;

/// Turns `synchronous_commit` on where it is off.
const DURABLE: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
    WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";

/// Names and values, in SQL's spelling.
///
/// The application's name is among them, as a pooler would set what is told by itself, and leave it there.
fn values(settings: &PostgresSettings) -> [(&'static str, String); 9] {
    let millis = |timeout: Duration| timeout.as_millis().clamp(1, 1_000_000_000).to_string();
    [
        (
            "search_path",
            format!("{}, pg_temp", quoted(&settings.schema)),
        ),
        ("statement_timeout", millis(settings.statement_timeout)),
        ("lock_timeout", millis(settings.lock_timeout)),
        (
            "idle_in_transaction_session_timeout",
            millis(settings.statement_timeout.saturating_mul(2)),
        ),
        ("application_name", "nahook".to_owned()),
        ("jit", "off".to_owned()),
        ("enable_seqscan", "off".to_owned()),
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("client_min_messages", "warning".to_owned()),
    ]
}

/// The statements that set up one transaction.
pub(crate) fn for_transaction(settings: &PostgresSettings) -> String {
    let mut text = String::new();
    for (name, value) in values(settings) {
        // Writing to a string cannot fail.
        let _ = write!(text, "SET LOCAL {name} = {value}; ");
    }
    text + DURABLE
}

/// The start-up options of a session, and how to find out whether they have arrived.
#[derive(Clone, Debug)]
pub(crate) struct Mark(String);

impl Mark {
    /// A mark that no other process has.
    pub(crate) fn new() -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self(format!("{:x}-{random:016x}", std::process::id()))
    }

    /// The options, after those that the URL has.
    pub(crate) fn options(&self, given: Option<&str>, settings: &PostgresSettings) -> String {
        let mut text = given.map(|given| format!("{given} ")).unwrap_or_default();
        for (name, value) in values(settings) {
            let _ = write!(text, "-c {name}={} ", escaped(&value));
        }
        let _ = write!(text, "-c nahook.session={}", self.0);
        text
    }

    /// Returns true if the session was started with the options. Then it is ours, and made durable where it is not.
    pub(crate) async fn is_on(&self, client: &Client) -> Result<bool, Error> {
        let asked = format!(
            "SELECT CASE WHEN pg_catalog.current_setting('nahook.session', true) = '{}' THEN \
                 CASE pg_catalog.current_setting('synchronous_commit') WHEN 'off' \
                     THEN pg_catalog.set_config('synchronous_commit', 'on', false) ELSE 'kept' END END",
            self.0
        );
        let answered = client.simple_query(&asked).await?;
        Ok(answered
            .iter()
            .any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0).is_some())))
    }
}

/// A value as options spell it: blanks separate them.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if letter == '\\' || letter.is_ascii_whitespace() || letter == '\u{b}' {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_options_are_escaped() {
        let settings = PostgresSettings::default().with_schema("it's \"odd\\");
        let options = Mark("m".to_owned()).options(Some("-c a=b"), &settings);
        let expected = "-c a=b -c search_path=\"it's\\ \"\"odd\\\\\",\\ pg_temp -c ";
        assert!(options.starts_with(expected), "{options}");
        assert!(options.ends_with(" -c nahook.session=m"), "{options}");
    }

    #[test]
    fn transaction_settings_end_with_the_transaction() {
        let text = for_transaction(&PostgresSettings::default());
        let settings = text.strip_suffix(DURABLE).expect("it comes last");
        let mut statements = settings.split_terminator("; ");
        assert!(statements.all(|statement| statement.starts_with("SET LOCAL ")));
    }
}
