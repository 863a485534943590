//! Names of streams, consumers and subjects.

use crate::error::ConnectError;

/// Name of the consumers that all workers share.
pub(crate) const WORKERS: &str = "workers";
/// Name of the consumer that all recorders of the log share.
pub(crate) const RECORDERS: &str = "recorders";
/// Name of retries and consumers that exist only to prove a right.
pub(crate) const CHECK: &str = "nahook-check";

/// Stream that a record was taken from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Source {
    /// Records as they were published.
    Deliveries,
    /// Retries that have come due.
    Retries,
}

/// Names of streams and subjects under a prefix.
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

    /// Subject that the workers' consumer of the stream filters.
    pub(crate) fn due(&self, source: Source) -> String {
        match source {
            Source::Deliveries => format!("{}.deliveries", self.prefix),
            Source::Retries => format!("{}.retries.due", self.prefix),
        }
    }

    /// Subjects under which earlier versions kept retries where the server had no scheduled messages.
    pub(crate) fn unscheduled(&self) -> String {
        format!("{}.retries.at.*", self.prefix)
    }

    /// The second at which a retry is due that waits under one of the [`unscheduled`](Self::unscheduled) subjects.
    pub(crate) fn second_of(&self, subject: &str) -> Option<u64> {
        let rest = subject.strip_prefix(&self.prefix)?;
        rest.strip_prefix(".retries.at.")?.parse().ok()
    }

    /// Subject of a retry that waits as a scheduled message.
    pub(crate) fn scheduled(&self, id: &str) -> String {
        format!("{}.retries.scheduled.{id}", self.prefix)
    }

    pub(crate) fn progress(&self) -> String {
        format!("{}.progress", self.prefix)
    }

    /// Subject on which the processes tell each other how much they hold; it belongs to no stream.
    pub(crate) fn workers(&self) -> String {
        format!("{}.workers", self.prefix)
    }

    pub(crate) fn dead_letters(&self) -> String {
        format!("{}.dead_letters", self.prefix)
    }
}
