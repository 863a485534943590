//! Comparison of existing settings with the wanted ones, and the meaning of JetStream's errors.

use std::fmt::Debug;

use async_nats::jetstream::ErrorCode;

use crate::error::{ConnectError, Source as Cause};

/// First difference between existing and wanted settings.
pub(super) struct Check(String, Option<ConnectError>);

impl Check {
    pub(super) fn of(name: &str) -> Self {
        Self(name.to_owned(), None)
    }

    pub(super) fn expect_same<T: PartialEq + Debug>(
        &mut self,
        setting: &'static str,
        found: &T,
        wanted: &T,
    ) {
        if found != wanted && self.1.is_none() {
            self.1 = Some(ConnectError::Differs {
                name: self.0.clone(),
                setting,
                found: format!("{found:?}"),
                wanted: format!("{wanted:?}"),
            });
        }
    }

    pub(super) fn result(self) -> Result<(), ConnectError> {
        self.1.map_or(Ok(()), Err)
    }
}

/// Translates an error that JetStream answered.
pub(super) fn refused(code: ErrorCode, error: impl Into<Cause>) -> ConnectError {
    match code {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            ConnectError::NoJetStream
        }
        // A cluster that has no leader yet.
        ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::CLUSTER_NOT_ACTIVE
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::CLUSTER_NO_PEERS => ConnectError::Unreachable(error.into()),
        _ => ConnectError::Refused(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what an election may mend is asked again.
    #[test]
    fn error_of_a_cluster_without_a_leader_is_none_of_the_settings() {
        let rows = [
            (10_005, "cannot be reached"),
            (10_006, "cannot be reached"),
            (10_008, "cannot be reached"),
            (10_009, "cannot be reached"),
            (10_023, "cannot be reached"),
            (10_039, "JetStream is not enabled"),
            (10_047, "refused"),
            (10_074, "refused"),
            (10_076, "JetStream is not enabled"),
        ];
        for (code, expected) in rows {
            let told = refused(ErrorCode(code), "the server's words").to_string();
            assert!(told.contains(expected), "{code}: {told}");
        }
    }
}
