//! The names of streams and subjects.

use super::Source;
use crate::error::ConnectError;

/// The names of streams and subjects under a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    stem: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Result<Self, ConnectError> {
        let is_token = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if prefix.len() > 64 || !prefix.split('.').all(is_token) {
            return Err(ConnectError::Prefix);
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            stem: prefix.replace('.', "-").to_ascii_uppercase(),
        })
    }

    pub(crate) fn stream(&self, source: Source) -> String {
        match source {
            Source::Deliveries => format!("{}_DELIVERIES", self.stem),
            Source::Retries => format!("{}_RETRIES", self.stem),
        }
    }

    pub(crate) fn progress_stream(&self) -> String {
        format!("{}_PROGRESS", self.stem)
    }

    pub(crate) fn dead_letter_stream(&self) -> String {
        format!("{}_DEAD_LETTERS", self.stem)
    }

    pub(crate) fn log_stream(&self) -> String {
        format!("{}_LOG", self.stem)
    }

    pub(crate) fn log(&self) -> String {
        format!("{}.log", self.prefix)
    }

    /// The subject that the workers' consumer of the stream filters.
    pub(crate) fn due(&self, source: Source) -> String {
        match source {
            Source::Deliveries => format!("{}.deliveries", self.prefix),
            Source::Retries => format!("{}.retries.due", self.prefix),
        }
    }

    /// Where a retry waits for its second, if no schedule of the server's wakes it.
    pub(crate) fn waiting(&self, second: u64) -> String {
        format!("{}.retries.at.{second}", self.prefix)
    }

    /// Where retries wait.
    pub(crate) fn all_waiting(&self) -> String {
        format!("{}.retries.at.*", self.prefix)
    }

    /// The second of a subject made by [`waiting`](Self::waiting).
    pub(crate) fn second_of(&self, subject: &str) -> Option<u64> {
        let rest = subject.strip_prefix(&self.prefix)?;
        rest.strip_prefix(".retries.at.")?.parse().ok()
    }

    /// Where a retry waits for a schedule of the server's.
    pub(crate) fn scheduled(&self, id: &str) -> String {
        format!("{}.retries.scheduled.{id}", self.prefix)
    }

    pub(crate) fn progress(&self) -> String {
        format!("{}.progress", self.prefix)
    }

    /// Where the processes tell each other how much they have in hand; no stream's.
    pub(crate) fn workers(&self) -> String {
        format!("{}.workers", self.prefix)
    }

    pub(crate) fn dead_letters(&self) -> String {
        format!("{}.dead_letters", self.prefix)
    }
}
