//! The settings of TLS.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::{or, wrong};
use crate::ServerError;
use crate::tls::TlsFiles;

/// The settings of TLS as given by flag or environment, or by the table `tls` of a file; each may be absent.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsArgs {
    /// A file with the certificate chain that clients are shown, in PEM; it is read again when it changes [default: no TLS].
    #[arg(
        long = "tls-cert",
        id = "tls_cert",
        env = "NAHOOK_TLS_CERT",
        value_name = "FILE"
    )]
    pub cert: Option<PathBuf>,
    /// A file with its private key, in PEM.
    #[arg(
        long = "tls-key",
        id = "tls_key",
        env = "NAHOOK_TLS_KEY",
        value_name = "FILE"
    )]
    pub key: Option<PathBuf>,
}

impl TlsArgs {
    /// Fills what is absent from `file`.
    pub(super) fn or(self, file: Self) -> Self {
        or!(self, file: cert, key)
    }

    /// Returns the files, or `None` for plain HTTP.
    pub(super) fn resolve(self) -> Result<Option<TlsFiles>, ServerError> {
        match (self.cert, self.key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
            (Some(_), None) => Err(wrong("--tls-cert", "it needs --tls-key")),
            (None, Some(_)) => Err(wrong("--tls-key", "it needs --tls-cert")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_and_key_come_together() {
        let args = |cert: Option<&str>, key: Option<&str>| TlsArgs {
            cert: cert.map(Into::into),
            key: key.map(Into::into),
        };
        assert!(args(None, None).resolve().unwrap().is_none());
        assert!(args(Some("a"), Some("b")).resolve().unwrap().is_some());
        for (args, named) in [
            (args(Some("a"), None), "--tls-cert"),
            (args(None, Some("b")), "--tls-key"),
        ] {
            assert!(args.resolve().unwrap_err().report().contains(named));
        }
        let file = args(Some("a"), Some("b"));
        let both = args(Some("c"), None).or(file).resolve().unwrap().unwrap();
        assert_eq!((both.cert, both.key), ("c".into(), "b".into()));
    }
}
