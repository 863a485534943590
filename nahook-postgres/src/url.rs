//! Parameters of the database's URL that this crate reads itself.

use tokio_postgres::config::SslMode;

use crate::ConnectError;
use crate::tls::Trust;

/// Parameters of the URL that the driver does not know: encryption, and a pooler in between.
pub(crate) struct UrlSettings {
    pub(crate) mode: SslMode,
    pub(crate) trust: Trust,
    pub(crate) root_file: Option<String>,
    /// `pooler=transaction`: the server lends each session for one transaction.
    pub(crate) is_pooled: bool,
}

impl UrlSettings {
    /// Returns true if the server's certificate is checked, with its name.
    pub(crate) fn is_verified(&self) -> bool {
        self.trust == Trust::Host
    }

    /// Reads `sslmode`, `sslrootcert` and `pooler`; returns the URL without them.
    pub(crate) fn take_from(url: &str) -> Result<(String, Self), ConnectError> {
        let mut found = Self {
            mode: SslMode::Prefer,
            trust: Trust::Anyone,
            root_file: None,
            is_pooled: false,
        };
        let Some((address, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), found));
        };
        let mut others = Vec::new();
        for parameter in query.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => {
                    (found.mode, found.trust) = match mode {
                        "disable" => (SslMode::Disable, Trust::Anyone),
                        "allow" | "prefer" => (SslMode::Prefer, Trust::Anyone),
                        "require" => (SslMode::Require, Trust::Anyone),
                        "verify-ca" => (SslMode::Require, Trust::Authority),
                        "verify-full" => (SslMode::Require, Trust::Host),
                        _ => return Err(ConnectError::Url("no such sslmode".into())),
                    };
                }
                Some(("sslrootcert", file)) => found.root_file = Some(decoded(file)?),
                Some(("pooler", "transaction")) => found.is_pooled = true,
                Some(("pooler", _)) => return Err(ConnectError::Url("no such pooler".into())),
                _ => others.push(parameter),
            }
        }
        let rest = if others.is_empty() {
            address.to_owned()
        } else {
            format!("{address}?{}", others.join("&"))
        };
        Ok((rest, found))
    }
}

fn decoded(text: &str) -> Result<String, ConnectError> {
    let invalid = || ConnectError::Url("an invalid percent escape".into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(invalid)?;
        let digits = std::str::from_utf8(digits).map_err(|_| invalid())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| invalid())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_read_from_the_url() {
        let url = "postgres://a@b/c?sslmode=verify-full&sslrootcert=%2Fa%20b.pem&port=1";
        let (rest, found) = UrlSettings::take_from(url).expect("a valid URL");
        assert_eq!(rest, "postgres://a@b/c?port=1");
        assert_eq!(found.mode, SslMode::Require);
        assert_eq!(found.trust, Trust::Host);
        assert_eq!(found.root_file.as_deref(), Some("/a b.pem"));
    }

    #[test]
    fn pooler_is_read_from_the_url() {
        let read = |url| UrlSettings::take_from(url).map(|(rest, found)| (rest, found.is_pooled));
        let pooled = read("postgres://a@b/c?pooler=transaction").expect("a valid URL");
        assert_eq!(pooled, ("postgres://a@b/c".to_owned(), true));
        assert!(!read("postgres://a@b/c").expect("a valid URL").1);
        assert!(read("postgres://a@b/c?pooler=none").is_err());
    }

    #[test]
    fn a_wrong_mode_is_refused() {
        assert!(UrlSettings::take_from("postgres://a@b/c?sslmode=verify").is_err());
        assert!(UrlSettings::take_from("postgres://a@b/c?sslrootcert=%zz").is_err());
    }
}
