//! Texts that must not be shown.

use std::fmt;

/// A text that must not be shown: a signing secret, a password, a key.
///
/// `Debug` hides it and there is no `Display`; reading it takes a call of [`expose`](Self::expose).
#[derive(Clone, Eq, PartialEq)]
pub struct SecretText(String);

impl SecretText {
    /// Hides `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}
