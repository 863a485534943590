//! The address of a client behind proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns true if `address` is that of a proxy whose word is believed.
pub(super) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|range| range.contains(&address))
}

/// Returns the client's address that a trusted proxy names: the last one in `X-Forwarded-For` that is no trusted proxy
/// itself. `Forwarded` counts only without `X-Forwarded-For`, since proxies that write the latter pass on whatever a client
/// says in the former.
pub(super) fn forwarded_for(trusted: &[IpNet], headers: &HeaderMap) -> Option<IpAddr> {
    let is_listed = headers.contains_key(X_FORWARDED_FOR);
    let name = if is_listed {
        X_FORWARDED_FOR
    } else {
        header::FORWARDED
    };
    let mut client = None;
    for line in headers.get_all(name).iter().rev() {
        for element in line.to_str().ok()?.rsplit(',') {
            let node = if is_listed {
                Some(element)
            } else {
                of_forwarded(element)
            };
            // What stands before an entry that cannot be read is anybody's.
            let Some(address) = node.and_then(address) else {
                return client;
            };
            client = Some(address);
            if !is_trusted(trusted, address) {
                return client;
            }
        }
    }
    client
}

/// The node of `for=` in one element of `Forwarded` (RFC 7239).
fn of_forwarded(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, node) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(node)
    })
}

/// An address, maybe with a port, in brackets or in quotes.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let with_port = || node.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bare = node
        .strip_prefix('[')
        .and_then(|node| node.strip_suffix(']'));
    let address = bare.unwrap_or(node).parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(name: &HeaderName, lines: &[&'static str]) -> Option<String> {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        forwarded_for(&trusted, &headers).map(|address| address.to_string())
    }

    #[test]
    fn last_address_that_is_no_proxy_is_the_client() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["198.51.100.7, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            (&["198.51.100.7", "192.0.2.1,10.1.1.1", "::1"], "192.0.2.1"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&["192.0.2.1, unknown, 10.1.1.1"], "10.1.1.1"),
        ] {
            let found = client(&X_FORWARDED_FOR, lines);
            assert_eq!(found.as_deref(), Some(expected), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["unknown"], &["192.0.2.1, _hidden"]] {
            assert_eq!(client(&X_FORWARDED_FOR, lines), None, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_rfc_7239() {
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (
                &["proto=https;For=\"192.0.2.1:80\";by=10.0.0.1"],
                "192.0.2.1",
            ),
            (
                &["for=198.51.100.7, for=\"[2001:db8::1]:4711\", for=10.0.0.1"],
                "2001:db8::1",
            ),
        ] {
            let found = client(&header::FORWARDED, lines);
            assert_eq!(found.as_deref(), Some(expected), "{lines:?}");
        }
        assert_eq!(client(&header::FORWARDED, &["proto=https"]), None);
    }

    #[test]
    fn forwarded_does_not_count_beside_x_forwarded_for() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::FORWARDED,
            HeaderValue::from_static("for=198.51.100.7"),
        );
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
        assert_eq!(forwarded_for(&[], &headers), Some([192, 0, 2, 1].into()));
    }
}
