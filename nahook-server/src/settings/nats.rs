//! The settings of a queue on NATS.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use nahook_nats::{Credentials, NatsSettings, Storage, Tls};
use serde::Deserialize;

use super::{or, wrong};
use crate::{ServerError, text_file};

/// The settings of a queue on NATS as given by flag or environment, or by the table `nats` of a file; each may be absent.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[command(next_help_heading = "With --queue nats://…")]
#[serde(deny_unknown_fields)]
pub struct NatsArgs {
    /// Beginning of every subject; the streams are named after it [default: nahook].
    #[arg(
        long = "nats-prefix",
        id = "nats_prefix",
        env = "NAHOOK_NATS_PREFIX",
        value_name = "PREFIX"
    )]
    pub prefix: Option<String>,
    /// Number of servers in the cluster that keep each stream: 1, 3 or 5 [default: 1].
    #[arg(
        long = "nats-replicas",
        id = "nats_replicas",
        env = "NAHOOK_NATS_REPLICAS",
        value_name = "NUMBER"
    )]
    pub replicas: Option<usize>,
    /// Storage of the streams [default: file].
    #[arg(
        long = "nats-storage",
        id = "nats_storage",
        env = "NAHOOK_NATS_STORAGE",
        value_name = "STORAGE"
    )]
    pub storage: Option<StorageChoice>,
    /// Upper bound on the bytes of deliveries that wait; beyond it receipts say that nothing was queued [default: no limit].
    #[arg(
        long = "nats-bytes-max",
        id = "nats_bytes_max",
        env = "NAHOOK_NATS_BYTES_MAX",
        value_name = "BYTES"
    )]
    pub bytes_max: Option<u64>,
    /// Instant, in ISO 8601, until which records that were not signed are delivered although there is a --secret-key-file:
    /// for a queue that was used without one before [default: none is].
    #[arg(
        long = "nats-accept-unsigned-until",
        id = "nats_accept_unsigned_until",
        env = "NAHOOK_NATS_ACCEPT_UNSIGNED_UNTIL",
        value_name = "INSTANT"
    )]
    pub accept_unsigned_until: Option<String>,
    /// The user's name; name and password may be in the URL instead.
    #[arg(
        long = "nats-user",
        id = "nats_user",
        env = "NAHOOK_NATS_USER",
        value_name = "NAME"
    )]
    pub user: Option<String>,
    /// The user's password.
    #[arg(
        long = "nats-password",
        id = "nats_password",
        env = "NAHOOK_NATS_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// A file with the user's password.
    #[arg(
        long = "nats-password-file",
        id = "nats_password_file",
        env = "NAHOOK_NATS_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,
    /// A token.
    #[arg(
        long = "nats-token",
        id = "nats_token",
        env = "NAHOOK_NATS_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// A file with a token.
    #[arg(
        long = "nats-token-file",
        id = "nats_token_file",
        env = "NAHOOK_NATS_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// A file with the seed of an nkey.
    #[arg(
        long = "nats-nkey-file",
        id = "nats_nkey_file",
        env = "NAHOOK_NATS_NKEY_FILE",
        value_name = "FILE"
    )]
    pub nkey_file: Option<PathBuf>,
    /// A file with a JWT and a seed, as nsc writes it.
    #[arg(
        long = "nats-credentials-file",
        id = "nats_credentials_file",
        env = "NAHOOK_NATS_CREDENTIALS_FILE",
        value_name = "FILE"
    )]
    pub credentials_file: Option<PathBuf>,
    /// Refuse a server without TLS [default: false, or what the URL says].
    #[arg(long = "nats-tls", id = "nats_tls", env = "NAHOOK_NATS_TLS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub tls: Option<bool>,
    /// A file of certificates, in PEM, of authorities to trust besides the system's.
    #[arg(
        long = "nats-tls-ca",
        id = "nats_tls_ca",
        env = "NAHOOK_NATS_TLS_CA",
        value_name = "FILE"
    )]
    pub tls_ca: Option<PathBuf>,
    /// A file with our own certificate chain, in PEM, for servers that ask for one.
    #[arg(
        long = "nats-tls-cert",
        id = "nats_tls_cert",
        env = "NAHOOK_NATS_TLS_CERT",
        value_name = "FILE"
    )]
    pub tls_cert: Option<PathBuf>,
    /// A file with its key.
    #[arg(
        long = "nats-tls-key",
        id = "nats_tls_key",
        env = "NAHOOK_NATS_TLS_KEY",
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,
}

/// Storage of the streams.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StorageChoice {
    /// Files.
    File,
    /// Memory: a server that ends forgets.
    Memory,
}

impl NatsArgs {
    /// Fills what is absent from the file.
    pub(super) fn or(self, file: Self) -> Self {
        or!(self, file: prefix, replicas, storage, bytes_max, accept_unsigned_until, user, password, password_file, token, token_file, nkey_file, credentials_file, tls, tls_ca, tls_cert, tls_key)
    }

    /// Checks them.
    pub(super) fn resolve(self) -> Result<NatsSettings, ServerError> {
        let mut settings = NatsSettings::default();
        let credentials = self.credentials()?;
        if let Some(prefix) = self.prefix {
            settings = settings.with_prefix(prefix);
        }
        if let Some(replicas) = self.replicas {
            if ![1, 3, 5].contains(&replicas) {
                return Err(wrong(
                    "--nats-replicas",
                    format!("{replicas} is not 1, 3 or 5"),
                ));
            }
            settings.replicas = replicas;
        }
        settings.storage = match self.storage {
            Some(StorageChoice::Memory) => Storage::Memory,
            Some(StorageChoice::File) | None => Storage::File,
        };
        settings.bytes_max = self.bytes_max;
        if let Some(text) = &self.accept_unsigned_until {
            let until = nahook_http::parse_instant(text).ok_or_else(|| {
                let reason = format!("{text:?} is no instant such as 2026-12-31T12:00:00Z");
                wrong("--nats-accept-unsigned-until", reason)
            })?;
            settings.authentication = settings.authentication.accept_unsigned_until(until);
        }
        settings.credentials = credentials;
        let client_certificate = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let reason = "a certificate and its key go together";
                return Err(wrong("--nats-tls-cert", reason));
            }
        };
        settings.tls = Tls {
            required: self.tls.unwrap_or(false),
            root_certificates: self.tls_ca,
            client_certificate,
        };
        // The workers' results are recorded in the store.
        settings.log = true;
        Ok(settings)
    }

    fn credentials(&self) -> Result<Credentials, ServerError> {
        let mut given = Vec::new();
        let password = given_or_read(
            self.password.as_deref(),
            self.password_file.as_deref(),
            "--nats-password-file",
        )?;
        if let Some(user) = &self.user {
            given.push(Credentials::User(
                user.clone(),
                password.unwrap_or_default(),
            ));
        } else if password.is_some() {
            return Err(wrong("--nats-password", "it needs --nats-user"));
        }
        let token = given_or_read(
            self.token.as_deref(),
            self.token_file.as_deref(),
            "--nats-token-file",
        )?;
        given.extend(token.map(Credentials::Token));
        if let Some(path) = &self.nkey_file {
            given.push(Credentials::NkeySeed(text_file::read_secret(path)?));
        }
        if let Some(path) = &self.credentials_file {
            given.push(Credentials::File(path.clone()));
        }
        match (given.pop(), given.is_empty()) {
            (None, _) => Ok(Credentials::None),
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(wrong(
                "--nats-credentials-file",
                "only one of user, token, nkey file and credentials file can be given",
            )),
        }
    }
}

/// A secret that was given as it is or in a file, which setting `name` names.
fn given_or_read(
    given: Option<&str>,
    file: Option<&Path>,
    name: &'static str,
) -> Result<Option<String>, ServerError> {
    match (given, file) {
        (Some(_), Some(_)) => Err(wrong(name, "it goes without the secret itself")),
        (given, None) => Ok(given.map(str::to_owned)),
        (None, Some(path)) => text_file::read_secret(path).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(file: &str) -> Result<NatsSettings, String> {
        let given: NatsArgs = toml::from_str(file).unwrap();
        given.resolve().map_err(|error| error.report())
    }

    #[test]
    fn each_kind_of_credentials_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let seed = dir.path().join("seed");
        std::fs::write(&seed, "SUAX\n").unwrap();
        let seed = format!("nkey_file = '{}'", seed.display());
        let user = Credentials::User("u".to_owned(), "p".to_owned());
        for (file, expected) in [
            ("", Credentials::None),
            ("user = 'u'\npassword = 'p'", user),
            ("token = 't'", Credentials::Token("t".to_owned())),
            (&seed, Credentials::NkeySeed("SUAX".to_owned())),
            (
                "credentials_file = 'x.creds'",
                Credentials::File("x.creds".into()),
            ),
        ] {
            let settings = resolved(file).unwrap();
            assert!(settings.credentials == expected, "{settings:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (file, named) in [
            ("user = 'u'\ntoken = 'hunter2'", "--nats-credentials-file"),
            ("password = 'hunter2'", "--nats-password"),
            ("replicas = 2", "--nats-replicas"),
            ("tls_key = 'x'", "--nats-tls-cert"),
            ("nkey_file = '/does/not/exist'", "/does/not/exist"),
        ] {
            let said = resolved(file).unwrap_err();
            assert!(said.contains(named) && !said.contains("hunter2"), "{said}");
        }
    }
}
