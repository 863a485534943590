//! One blocking look-up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _, UdpSocket};

use crate::transport::LocalCause;

/// Result of a look-up.
pub(super) type Found = Result<Vec<IpAddr>, Failure>;

/// Why a look-up failed; an [`io::Error`] that can be cloned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    Os(i32),
    Kind(io::ErrorKind),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::Os(code),
            None => Self::Kind(error.kind()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Os(code) => Self::from_raw_os_error(code),
            Failure::Kind(kind) => kind.into(),
        }
    }
}

/// Looks `host` up as the operating system does.
pub(super) fn look_up(host: &str) -> Found {
    match (host, 0).to_socket_addrs() {
        Ok(sockets) => Ok(sockets.map(|socket| socket.ip()).collect()),
        Err(error) => Err(failure_of(error)),
    }
}

fn failure_of(error: io::Error) -> Failure {
    // Without a descriptor the C library takes the name for unknown, or the server for silent.
    if let Err(error) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        && LocalCause::of(&error).is_some_and(LocalCause::is_certain)
    {
        return error.into();
    }
    // `EAI_AGAIN`, of which the standard library keeps the text alone: glibc's and musl's, in the locale of a process that
    // has set none.
    let text = error.to_string();
    if text.contains("Temporary failure in name resolution") || text.ends_with("Try again") {
        return Failure::Kind(io::ErrorKind::NetworkDown);
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_name_server_is_told_from_an_unknown_name() {
        let prefix = "failed to lookup address information: ";
        let again = io::ErrorKind::NetworkDown;
        for text in ["Temporary failure in name resolution", "Try again"] {
            let error = io::Error::other(format!("{prefix}{text}"));
            assert_eq!(failure_of(error), Failure::Kind(again), "{text}");
        }
        let unknown = io::Error::other(format!("{prefix}Name or service not known"));
        assert_eq!(failure_of(unknown), Failure::Kind(io::ErrorKind::Other));
        let lacking = Failure::from(io::Error::from_raw_os_error(24));
        assert_eq!(io::Error::from(lacking).raw_os_error(), Some(24));
    }
}
