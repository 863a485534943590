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
        hide_env_values = true,
        required_unless_present = "api_key_file"
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
        hide_env_values = true,
        required_unless_present = "token_file"
    )]
    pub token: Option<String>,
    /// A file with the management token.
    #[arg(long, env = "NAHOOK_MANAGEMENT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl ApiKeyArgs {
    /// The key; the one that was given as it is goes before a file's.
    pub(crate) fn secret(&self) -> Result<SecretText, ServerError> {
        secret(self.api_key.as_deref(), self.api_key_file.as_deref())
    }
}

impl TokenArgs {
    /// The token; the one that was given as it is goes before a file's.
    pub(crate) fn secret(&self) -> Result<SecretText, ServerError> {
        secret(self.token.as_deref(), self.token_file.as_deref())
    }
}

fn secret(given: Option<&str>, file: Option<&Path>) -> Result<SecretText, ServerError> {
    let text = match (given, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) => text_file::read_secret(path)?,
        // The parser has refused it.
        (None, None) => String::new(),
    };
    Ok(SecretText::new(text))
}
