//! Server URLs and the credentials in them.

use async_nats::ServerAddr;

use crate::config::Credentials;
use crate::error::ConnectError;

/// Parses URLs separated by commas. The credentials are those of the first URL that has any, and no address has any: the client
/// logs addresses when it connects.
pub(crate) fn read(servers: &str) -> Result<(Vec<ServerAddr>, Credentials), ConnectError> {
    let servers: Result<Vec<ServerAddr>, _> =
        servers.split(',').map(|url| url.trim().parse()).collect();
    // The cause would show the URL, and with it what may be a secret.
    let servers = servers.map_err(|_| ConnectError::Url)?;
    if servers.iter().any(|server| server.host().is_empty()) {
        return Err(ConnectError::Url);
    }
    let named = servers.iter().find_map(|server| {
        let user = server.username()?;
        let user = decoded(user)?;
        Some(match server.password() {
            Some(password) => Credentials::User(user, decoded(password)?),
            None => Credentials::Token(user),
        })
    });
    let servers = servers.into_iter().map(without_credentials);
    let servers = servers.collect::<Result<_, _>>()?;
    Ok((servers, named.unwrap_or_default()))
}

fn without_credentials(server: ServerAddr) -> Result<ServerAddr, ConnectError> {
    let mut url = server.into_inner();
    let removed = url.set_password(None).and_then(|()| url.set_username(""));
    removed.map_err(|()| ConnectError::Url)?;
    ServerAddr::from_url(url).map_err(|_| ConnectError::Url)
}

/// Decodes percent encoding. Returns `None` if the result is not text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(servers: &str) -> Option<Credentials> {
        read(servers).ok().map(|(_, named)| named)
    }

    #[test]
    fn a_url_may_name_a_user_or_a_token() {
        let user = |name: &str, password: &str| {
            Some(Credentials::User(name.to_owned(), password.to_owned()))
        };
        assert_eq!(named("nats://shop:secret@a:4222"), user("shop", "secret"));
        assert_eq!(named("nats://a, nats://x:p%40ss%3A@b"), user("x", "p@ss:"));
        assert_eq!(
            named("tls://t0ken@a"),
            Some(Credentials::Token("t0ken".to_owned()))
        );
        assert_eq!(named("a:1,b:2"), Some(Credentials::None));
    }

    #[test]
    fn addresses_have_no_credentials() {
        for servers in [
            "nats://u:secret@a:4222,tls://secret@b",
            "u:secret@a:1",
            "ws://u:secret@[::1]:80/x",
        ] {
            let (addresses, credentials) = read(servers).unwrap();
            assert_ne!(credentials, Credentials::None, "{servers}");
            let shown = format!("{addresses:?}");
            assert!(!shown.contains("secret"), "{shown}");
        }
        let (addresses, _) = read("tls://u:secret@a:4333").unwrap();
        assert_eq!(addresses[0].as_url_str(), "tls://a:4333");
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for servers in [
            "",
            "nats://",
            "http://u:secret@a",
            "nats://u:secret@a:99999",
        ] {
            let error = read(servers)
                .err()
                .map(|error| format!("{error} {error:?}"));
            let error = error.unwrap_or_default();
            assert!(!error.is_empty(), "{servers}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
