//! Secrets for calling a server: as they are, from the environment or from a file, which other users of the machine do not see.

use std::path::{Path, PathBuf};

use clap::Args;
use nahook_control::SecretText;

use crate::{ServerError, text_file};

/// The ingestion key to call with.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct ApiKeyArgs {
    /// The ingestion key.
    #[arg(
        long,
        env = "NAHOOK_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// A file with the ingestion key.
    #[arg(long, env = "NAHOOK_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

/// The management token to call with.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct TokenArgs {
    /// The management token.
    #[arg(
        long,
        env = "NAHOOK_MANAGEMENT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// A file with the management token.
    #[arg(long, env = "NAHOOK_MANAGEMENT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl ApiKeyArgs {
    /// The key; the one that was given as it is goes before a file's.
    pub(crate) fn secret(&self) -> Result<SecretText, ServerError> {
        let (given, file) = (self.api_key.as_deref(), self.api_key_file.as_deref());
        secret(given, file, "--api-key-file or NAHOOK_API_KEY")
    }
}

impl TokenArgs {
    /// The token; the one that was given as it is goes before a file's.
    pub(crate) fn secret(&self) -> Result<SecretText, ServerError> {
        let (given, file) = (self.token.as_deref(), self.token_file.as_deref());
        secret(given, file, "--token-file or NAHOOK_MANAGEMENT_TOKEN")
    }
}

fn secret(
    given: Option<&str>,
    file: Option<&Path>,
    wanted: &str,
) -> Result<SecretText, ServerError> {
    match (given, file) {
        (Some(text), _) => Ok(SecretText::new(text)),
        (None, Some(path)) => Ok(SecretText::new(text_file::read_secret(path)?)),
        (None, None) => Err(ServerError::Usage(format!("give {wanted}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_given_or_read_or_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "nhm_of_the_file\n").unwrap();
        let of = |given, file| secret(given, file, "--token-file");
        assert_eq!(of(None, Some(&*path)).unwrap().expose(), "nhm_of_the_file");
        assert_eq!(
            of(Some("nhm_given"), Some(&*path)).unwrap().expose(),
            "nhm_given"
        );
        let missing = of(None, None).unwrap_err().report();
        assert!(missing.contains("--token-file"), "{missing}");
    }
}
