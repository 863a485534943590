//! Permission errors, which the server reports beside the answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::ServerError;
use nahook_supervision::Exit;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::layout::CHECK;

/// Shortest time between two log lines about the same right.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Start of the subjects of inboxes.
const INBOX: &str = "_INBOX.";

/// Operation that the server refused for lack of a right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Violation {
    /// A message to this subject was refused.
    Publish(String),
    /// A subscription of this subject was refused, or was ended.
    Subscribe(String),
}

impl Violation {
    /// Parses the server's text. Returns `None` for other errors.
    pub(crate) fn of(error: &ServerError) -> Option<Self> {
        let ServerError::Other(text) = error else {
            return None;
        };
        let rest = text.strip_prefix("Permissions Violation for ")?;
        let (operation, rest) = rest.split_once(" to \"")?;
        let (subject, _) = rest.split_once('"')?;
        match operation {
            "Publish" => Some(Self::Publish(subject.to_owned())),
            "Subscription" => Some(Self::Subscribe(subject.to_owned())),
            _ => None,
        }
    }

    /// Returns true if no answer can arrive any more.
    pub(crate) fn is_of_inbox(&self) -> bool {
        matches!(self, Self::Subscribe(subject) if subject.starts_with(INBOX))
    }

    /// Subject to grant: without the parts that differ from message to message.
    fn right(&self) -> String {
        let (Self::Publish(subject) | Self::Subscribe(subject)) = self;
        if subject.starts_with(INBOX) {
            return format!("{INBOX}>");
        }
        match subject.strip_prefix("$JS.ACK.") {
            Some(rest) => {
                let stream = rest.split('.').next().unwrap_or_default();
                format!("$JS.ACK.{stream}.>")
            }
            // The name differs from one retry, or one consumer, to the next.
            None => match subject.strip_suffix(CHECK) {
                Some(fixed) => format!("{fixed}*"),
                None => subject.clone(),
            },
        }
    }
}

/// Completes "the NATS user may not …".
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self {
            Self::Publish(_) => "publish",
            Self::Subscribe(_) => "subscribe",
        };
        write!(f, "{operation} to {}", self.right())
    }
}

/// Logs missing rights, each at most once in 10 s: one may be violated a thousand times a second.
#[derive(Default)]
pub(crate) struct ViolationLog {
    logged_at: Mutex<HashMap<String, Instant>>,
}

impl ViolationLog {
    pub(crate) fn log(&self, violation: &Violation) {
        let missing = violation.to_string();
        let now = Instant::now();
        let mut logged_at = self
            .logged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        logged_at.retain(|_, at| now.duration_since(*at) < LOG_INTERVAL);
        if let Entry::Vacant(entry) = logged_at.entry(missing) {
            tracing::error!(missing = entry.key(), "the NATS user lacks a right");
            entry.insert(now);
        }
    }
}

/// Waits until one of these rights is missing. `rights` are subjects or their prefixes.
pub(crate) async fn lacking(
    mut violations: broadcast::Receiver<Violation>,
    rights: Arc<[String]>,
) -> Exit {
    loop {
        match violations.recv().await {
            Ok(violation) => {
                let (Violation::Publish(subject) | Violation::Subscribe(subject)) = &violation;
                if rights.iter().any(|right| subject.starts_with(right)) {
                    return Exit::failed(format!("the NATS user may not {violation}"));
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Exit::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        Violation::of(&ServerError::Other(text.to_owned())).map(|violation| violation.to_string())
    }

    #[test]
    fn every_text_of_the_server_is_read() {
        let rows = [
            (
                r#"Permissions Violation for Publish to "nahook.deliveries""#,
                "publish to nahook.deliveries",
            ),
            (
                r#"Permissions Violation for Publish to "$JS.ACK.S.workers.1.2.3.4.5""#,
                "publish to $JS.ACK.S.>",
            ),
            (
                r#"Permissions Violation for Subscription to "_INBOX.abc.*""#,
                "subscribe to _INBOX.>",
            ),
            (
                r#"Permissions Violation for Subscription to "nahook.workers" (sid "3")"#,
                "subscribe to nahook.workers",
            ),
        ];
        for (text, read) in rows {
            assert_eq!(of(text).as_deref(), Some(read), "{text}");
        }
        for text in [
            "",
            "Invalid Subject",
            "Permissions Violation for Publish to nothing",
            r#"Permissions Violation for Publish with Reply of "a""#,
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
