//! The end of a loop.

use std::borrow::Cow;

/// Why a loop has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Exit {
    /// It was asked to, or whatever it works for is gone.
    Stopped,
    /// It cannot go on; the reason is for the log.
    Failed(Cow<'static, str>),
}

impl Exit {
    /// An end that was not asked for.
    pub fn failed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(reason.into())
    }
}
