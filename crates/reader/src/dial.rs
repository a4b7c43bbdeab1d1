//! Opens connections to brokers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::address::Address;
use crate::clock::after;
use crate::config::Config;
use crate::connection::Connection;
use crate::connection_error::ConnectionError;
use crate::first_address::first_address;
use crate::network::Stream;
use crate::tls::{Tls, TlsFault};
use crate::transport::Limits;

/// Opens a connection that is secured, authenticated and ready for requests, within the configured timeout.
pub(crate) async fn dial(
    address: &Address,
    config: &Config,
    limits: Limits,
) -> Result<Connection, ConnectionError> {
    let deadline = after(Instant::now(), config.setup_timeout);
    let dialed = timeout_at(deadline, async {
        let stream: Box<dyn Stream> = match &config.network {
            None => Box::new(connect(address, config, deadline).await?),
            Some(network) => {
                let stream = network.connect(&address.host, address.port).await;
                stream.map_err(|cause| not_connected(address, cause))?
            }
        };
        let timeout = config.setup_timeout;
        let mut connection = match &config.security.tls {
            None => {
                Connection::handshake(stream, address.clone(), &config.client_id, limits, timeout).await?
            }
            Some(tls) => {
                let stream =
                    tls.connect(&address.host, stream).await.map_err(|fault| refused(address, fault))?;
                Connection::handshake(stream, address.clone(), &config.client_id, limits, timeout)
                    .await
                    .map_err(|error| late(address, tls, error))?
            }
        };
        if let Some(sasl) = &config.security.sasl {
            let lifetime = sasl.authenticate(&connection, deadline).await?;
            connection.authenticated(lifetime);
        }
        Ok(connection)
    });
    let silent = || ConnectionError::Silent { address: address.to_string(), after: config.setup_timeout };
    dialed.await.unwrap_or_else(|_| Err(silent()))
}

fn refused(address: &Address, TlsFault { what, retriable }: TlsFault) -> ConnectionError {
    ConnectionError::Tls { address: address.to_string(), what, retriable }
}

/// Replaces the loss of a new connection by its TLS failure, if there is one.
fn late(address: &Address, tls: &Tls, error: ConnectionError) -> ConnectionError {
    let fault = match &error {
        ConnectionError::Lost { cause, .. } => tls.fault(cause),
        _ => None,
    };
    fault.map_or(error, |fault| refused(address, fault))
}

/// The TCP stream to the first address of the broker that accepts it.
async fn connect(
    address: &Address,
    config: &Config,
    deadline: Instant,
) -> Result<TcpStream, ConnectionError> {
    let resolve = |cause| ConnectionError::Resolve { address: address.to_string(), cause: Arc::new(cause) };
    let resolved = lookup_host((address.host.as_str(), address.port)).await.map_err(resolve)?;
    let addresses: Vec<SocketAddr> = resolved.filter(|found| config.family.allows(found)).collect();
    if addresses.is_empty() {
        return Err(resolve(io::Error::new(io::ErrorKind::NotFound, "no address of an allowed family")));
    }
    let stream = first_address(addresses, deadline, |found| tcp(found, config)).await;
    stream.map_err(|cause| not_connected(address, cause))
}

fn not_connected(address: &Address, cause: io::Error) -> ConnectionError {
    ConnectionError::Connect { address: address.to_string(), cause: Arc::new(cause) }
}

async fn tcp(address: SocketAddr, config: &Config) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_keepalive(config.keepalive)?;
    socket.set_nodelay(config.nodelay)?;
    if config.send_buffer > 0 {
        socket.set_send_buffer_size(config.send_buffer)?;
    }
    if config.receive_buffer > 0 {
        socket.set_recv_buffer_size(config.receive_buffer)?;
    }
    socket.connect(address).await
}
