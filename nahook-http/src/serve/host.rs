//! The rule for `Host` (RFC 9112, section 3.2).

use std::net::Ipv6Addr;

use axum::http::{HeaderMap, Version, header};

/// Returns true if the head has the one valid `Host` that HTTP/1.1 requires. HTTP/1.0 may leave it out.
pub(super) fn is_host_valid(version: Version, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => is_authority(value.as_bytes()),
        (None, _) => version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` of RFC 3986, without user information. A host may be empty.
fn is_authority(value: &[u8]) -> bool {
    let (host, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']');
        let literal = std::str::from_utf8(&rest[..end.unwrap_or(0)]);
        let is_address = literal.is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        match end {
            Some(end) if is_address => (&b""[..], &rest[end + 1..]),
            _ => return false,
        }
    } else {
        let colon = value.iter().position(|byte| *byte == b':');
        value.split_at(colon.unwrap_or(value.len()))
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port && is_name(host)
}

/// A name of RFC 3986: unreserved characters, sub-delimiters and percent-encoded bytes.
fn is_name(mut name: &[u8]) -> bool {
    while let [byte, rest @ ..] = name {
        name = match (byte, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_valid(version: Version, values: &[&'static [u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::HOST, HeaderValue::from_bytes(value).unwrap());
        }
        is_host_valid(version, &headers)
    }

    #[test]
    fn http_1_1_has_exactly_one_host() {
        for (values, in_1_0, in_1_1) in [
            (&[][..], true, false),
            (&[&b"a"[..]][..], true, true),
            (&[b"a", b"a"], false, false),
        ] {
            assert_eq!(is_valid(Version::HTTP_10, values), in_1_0, "{values:?}");
            assert_eq!(is_valid(Version::HTTP_11, values), in_1_1, "{values:?}");
        }
    }

    #[test]
    fn host_is_a_name_or_an_address_and_a_port() {
        for value in [
            &b""[..],
            b"example.com",
            b"example.com:",
            b"example.com:443",
            b"127.0.0.1:3001",
            b"[::1]",
            b"[::1]:3001",
            b"a_b~c.example",
            b"a%20b",
            b":80",
        ] {
            let text = String::from_utf8_lossy(value);
            assert!(is_valid(Version::HTTP_11, &[value]), "{text}");
        }
        for value in [
            &b"a b"[..],
            b"user@example.com",
            b"example.com/",
            b"http://example.com",
            b"example.com:x",
            b"example.com:123456",
            b"example.com:80:80",
            b"[::1",
            b"[::1]x",
            b"[::g]",
            b"::1",
            b"a%2",
            b"a%zz",
            b"a?b",
            b"a#b",
            b"a\"b",
            b"\xff",
        ] {
            let text = String::from_utf8_lossy(value);
            assert!(!is_valid(Version::HTTP_11, &[value]), "{text}");
        }
    }
}
