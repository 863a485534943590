//! URLs that deliveries are sent to.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::{Host, Url};

/// Longest URL in bytes, as it is declared.
pub(crate) const URL_LEN_MAX: usize = 2048;
/// Longest name of a host, and longest part of one between dots (RFC 1035).
const HOST_LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

/// A URL that a delivery can be attempted at: `http` or `https`, and a host that DNS, TLS and HTTP can carry.
///
/// This is the only judgement of URLs: what is declared and what is dialled are read by it. Names in Unicode are read as their
/// Punycode. A fragment is kept and never sent.
#[derive(Clone, Eq, PartialEq)]
pub struct EndpointUrl(Url);

/// The rule that a text breaks which is no URL of an endpoint; repeats nothing of the text.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct EndpointUrlError(&'static str);

impl EndpointUrlError {
    /// The rule.
    pub const fn rule(self) -> &'static str {
        self.0
    }
}

impl EndpointUrl {
    /// The URL in its normal form: host in lower case and ASCII, no port that is the scheme's own.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for EndpointUrl {
    type Err = EndpointUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_text(text).map_err(EndpointUrlError)?;
        let url = Url::parse(text)
            .map_err(|_| EndpointUrlError("its URL has a host or port that cannot be"))?;
        match url.host() {
            Some(Host::Domain(name)) => check_name(name).map_err(EndpointUrlError)?,
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
            None => return Err(EndpointUrlError("its URL has no host")),
        }
        if url.port() == Some(0) {
            return Err(EndpointUrlError("its URL has a port that cannot be"));
        }
        Ok(Self(url))
    }
}

/// Refuses what the URL standard repairs: what is declared has to be what is dialled.
fn check_text(text: &str) -> Result<(), &'static str> {
    if text.len() > URL_LEN_MAX {
        return Err("its URL has more than 2048 bytes");
    }
    let authority = text.split_once("://").and_then(|(scheme, rest)| {
        let is_known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        is_known.then(|| rest.split(['/', '?', '#']).next().unwrap_or_default())
    });
    let Some(authority) = authority.filter(|authority| !authority.is_empty()) else {
        return Err("its URL must be an http or https URL");
    };
    if authority.contains('@') {
        return Err("its URL must not hold credentials: give a user name and a password");
    }
    if authority.ends_with(':') {
        return Err("its URL has a port that cannot be");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("its URL contains white space");
    }
    if text.contains('\\') {
        return Err("its URL contains a backslash");
    }
    Ok(())
}

/// Letters, digits, hyphens and underscores between dots, each part beginning and ending with no hyphen; one dot may end it.
fn check_name(name: &str) -> Result<(), &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= HOST_LEN_MAX && name.split('.').all(is_label) {
        Ok(())
    } else {
        Err("its URL has a host that cannot be a name in DNS")
    }
}

// Path and query may be secrets.
impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointUrl").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_be_dialled_are_read_in_their_normal_form() {
        for (text, normal) in [
            ("http://a", "http://a/"),
            ("HTTPS://A.example:443/x?y=1", "https://a.example/x?y=1"),
            ("http://a.example:65535/", "http://a.example:65535/"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://[2001:DB8::1]/", "http://[2001:db8::1]/"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://a/b:c@d", "http://a/b:c@d"),
            ("http://a?x@y", "http://a/?x@y"),
            ("http://my_app.test/", "http://my_app.test/"),
            ("http://r3---sn.test/", "http://r3---sn.test/"),
            ("http://a.test./", "http://a.test./"),
            ("http://bücher.test/ä", "http://xn--bcher-kva.test/%C3%A4"),
            ("http://xn--bcher-kva.test/", "http://xn--bcher-kva.test/"),
            ("http://a/{x}|y?{z}", "http://a/%7Bx%7D|y?{z}"),
            ("http://a/#part", "http://a/#part"),
        ] {
            let url = text.parse::<EndpointUrl>();
            assert_eq!(url.as_ref().map(EndpointUrl::as_str), Ok(normal), "{text}");
        }
    }

    #[test]
    fn urls_that_can_never_be_dialled_are_refused() {
        let (label, host) = ("a".repeat(64), "a23456789.".repeat(26));
        for text in [
            "",
            "a",
            "ftp://a",
            "http:a",
            "http:/a",
            "http://",
            "http:///x",
            "http://?x",
            "http://:80/",
            "http://u:p@a/",
            "http://u@a/",
            "http://@a/",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:x/",
            "http://a b/",
            "http://a/b c",
            " http://a/",
            "http://a/\t",
            "http://a\n/",
            "http://a\\b/",
            "http://a/\u{7}",
            "http://[fe80::1%25eth0]/",
            "http://[fe80::1%eth0]/",
            "http://[::1/",
            "http://[::g]/",
            "http://[]/",
            "http://localhost%00.test/",
            "http://a%0d%0a.test/",
            "http://a%20b.test/",
            "http://a%zz.test/",
            "http://a%.test/",
            "http://xn--a.test/",
            "http://xn--.test/",
            "http://a\u{200d}b.test/",
            "http://a\u{200c}b.test/",
            "http://a\u{202e}b.test/",
            "http://\u{ad}/",
            "http://a..b/",
            "http://.a/",
            "http://a../",
            "http://./",
            "http://-a.test/",
            "http://a-.test/",
            "http://a*.test/",
            "http://{a}.test/",
            "http://a\"b.test/",
            "http://1.2.3.4.5/",
            "http://256.1.1.1/",
            &format!("http://{label}.test/"),
            &format!("http://{host}test/"),
            &format!("http://a/{}", "x".repeat(2048)),
        ] {
            let refused = text.parse::<EndpointUrl>().unwrap_err();
            assert!(refused.rule().starts_with("its URL "), "{text:?}");
        }
        let (label, host) = ("a".repeat(63), "a23456789.".repeat(25));
        for text in [
            format!("http://{label}.test/"),
            format!("http://{host}abc/"),
            format!("http://a/{}", "x".repeat(2039)),
        ] {
            assert!(text.parse::<EndpointUrl>().is_ok(), "{text}");
        }
    }
}
