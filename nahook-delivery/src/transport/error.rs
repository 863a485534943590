//! Why an attempt brought no status.

use std::io;

use rustix::io::Errno;

/// Why an attempt brought no status.
///
/// The texts are shown to tenants in their attempt records. They are constants: no address, host,
/// certificate or secret can get into one, and the kinds are too coarse to map a network with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Not a URL that can be posted to: neither `http` nor `https`, no host, or with credentials
    /// inside, which belong in the endpoint's basic-auth settings.
    #[error("the URL cannot be used")]
    InvalidUrl,
    /// Every address of the host, or the port, is one that may not be dialled.
    #[error("the host has no address that may be used")]
    RefusedAddress,
    /// The host's name could not be resolved, or has no address. The text is that of a refused address: a tenant must not learn
    /// which names the operator's network has.
    #[error("the host has no address that may be used")]
    Resolve,
    /// No permitted address accepted a connection.
    #[error("the connection failed")]
    Connect,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(TlsFault),
    /// Time ran out.
    #[error("timed out while {0}")]
    Timeout(TimeoutPhase),
    /// The connection ended before an answer's head was complete.
    #[error("the connection was closed before an answer arrived")]
    Closed,
    /// The bytes that arrived do not begin like an HTTP/1 answer.
    #[error("the answer was not valid HTTP")]
    Protocol,
    /// This machine could not make the attempt, which says nothing about the endpoint. Never shown to tenants.
    #[error("not attempted: {0}")]
    Local(LocalCause),
}

/// Phase of the attempt in which time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// Resolving the name.
    Resolve,
    /// Connecting, or the TLS handshake.
    Connect,
    /// Sending the request, or waiting for the answer's head.
    Answer,
}

impl std::fmt::Display for TimeoutPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the host name",
            Self::Connect => "connecting",
            Self::Answer => "waiting for the answer",
        })
    }
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// The certificate was valid once.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate is for the future.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The certificate is another host's.
    #[error("the certificate is for another name")]
    WrongName,
    /// Nobody who is trusted has signed the certificate, or the chain is incomplete.
    #[error("the certificate is by an unknown authority")]
    UnknownAuthority,
    /// The certificate was withdrawn.
    #[error("the certificate was revoked")]
    Revoked,
    /// The certificate cannot be used for a server: it is an authority's own, for another purpose, or malformed.
    #[error("the certificate cannot be used for a server")]
    BadCertificate,
    /// There is no TLS version or cipher that both sides speak.
    #[error("no common protocol version or cipher")]
    Incompatible,
    /// The endpoint takes clients with a certificate only, and deliveries present none.
    #[error("the endpoint wants a client certificate")]
    ClientCertificate,
    /// The endpoint ended the handshake for want of something that both sides take, and does not say of what.
    #[error("no common protocol version or cipher, or the endpoint wants a client certificate")]
    NoAgreement,
    /// The endpoint ended the handshake with an alert.
    #[error("the endpoint refused the handshake")]
    Refused,
    /// The peer is not a TLS server, but for example a plain HTTP server.
    #[error("the endpoint does not speak TLS on this port")]
    NotTls,
    /// The connection ended during the handshake.
    #[error("the connection was closed during the handshake")]
    Closed,
    /// Anything else.
    #[error("the handshake went wrong")]
    Other,
}

/// Resource that this machine lacked for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LocalCause {
    /// `EMFILE`, `ENFILE`: no file descriptor is left.
    #[error("no file descriptor is left")]
    Descriptors,
    /// `ENOBUFS`, `ENOMEM`: no memory is left for a connection.
    #[error("no memory is left")]
    Memory,
    /// No thread could be started.
    #[error("no thread could be started")]
    Threads,
    /// As many connections are open as [may be](crate::TransportSettings::connections_max).
    #[error("too many connections are open")]
    Connections,
    /// `EADDRNOTAVAIL`: no local address or port is left.
    #[error("no local port is left")]
    Ports,
    /// `ENETDOWN`, `ENETUNREACH`, and nothing else was reached lately: the network is down.
    #[error("the network is down")]
    Network,
    /// No name server answers, and no name was resolved lately.
    #[error("no name server answers")]
    Resolver,
}

impl LocalCause {
    /// The cause behind an error of the operating system, if it may be this machine's.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            Errno::ADDRNOTAVAIL => Some(Self::Ports),
            Errno::NETDOWN | Errno::NETUNREACH => Some(Self::Network),
            _ => None,
        }
    }

    /// Returns true if no endpoint can be the reason, so that none would fare better now.
    pub fn is_certain(self) -> bool {
        match self {
            Self::Descriptors | Self::Memory | Self::Threads | Self::Connections => true,
            Self::Ports | Self::Network | Self::Resolver => false,
        }
    }

    /// Returns the failure that the tenant is shown once this is put down to the endpoint.
    pub(crate) fn as_failure(self) -> TransportError {
        match self {
            Self::Resolver => TransportError::Resolve,
            _ => TransportError::Connect,
        }
    }

    /// The value of the metrics' label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Threads => "threads",
            Self::Connections => "connections",
            Self::Ports => "ports",
            Self::Network => "network",
            Self::Resolver => "resolver",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_this_machine_is_told_from_failures_of_the_endpoint() {
        for (errno, cause) in [
            (Errno::MFILE, Some(LocalCause::Descriptors)),
            (Errno::NFILE, Some(LocalCause::Descriptors)),
            (Errno::NOBUFS, Some(LocalCause::Memory)),
            (Errno::NOMEM, Some(LocalCause::Memory)),
            (Errno::ADDRNOTAVAIL, Some(LocalCause::Ports)),
            (Errno::NETUNREACH, Some(LocalCause::Network)),
            (Errno::NETDOWN, Some(LocalCause::Network)),
            (Errno::CONNREFUSED, None),
            (Errno::HOSTUNREACH, None),
            (Errno::CONNRESET, None),
            (Errno::TIMEDOUT, None),
        ] {
            assert_eq!(LocalCause::of(&errno.into()), cause, "{errno:?}");
        }
        assert_eq!(LocalCause::of(&io::Error::other("x")), None);
    }

    #[test]
    fn only_what_no_endpoint_can_cause_is_certain() {
        for (cause, is_certain) in [
            (LocalCause::Connections, true),
            (LocalCause::Descriptors, true),
            (LocalCause::Memory, true),
            (LocalCause::Threads, true),
            (LocalCause::Network, false),
            (LocalCause::Ports, false),
            (LocalCause::Resolver, false),
        ] {
            assert_eq!(cause.is_certain(), is_certain, "{cause:?}");
        }
    }
}
