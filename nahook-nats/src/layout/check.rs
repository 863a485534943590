//! Comparing what is there with what was asked for.

use std::fmt::Debug;

use crate::error::ConnectError;

/// The first difference between what is and what was asked for.
pub(super) struct Check(String, Option<ConnectError>);

impl Check {
    pub(super) fn of(name: &str) -> Self {
        Self(name.to_owned(), None)
    }

    pub(super) fn same<T: PartialEq + Debug>(
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

    pub(super) fn done(self) -> Result<(), ConnectError> {
        self.1.map_or(Ok(()), Err)
    }
}
