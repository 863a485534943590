//! Sockets that the server listens on.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::ServerError;

/// Connections that the system keeps until they are accepted; its own limit may be lower. A wave of them must not make it drop
/// those of others, who would try again a second later.
const BACKLOG: u32 = 4_096;

/// Listens on `address`.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A port that a server has just left can be taken at once.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| ServerError::Listen { address, source })
}
