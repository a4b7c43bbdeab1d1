//! Opens connections to brokers, over TCP unless the configuration names another one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::address::Address;
use crate::backoff::after;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::ConnectionError;
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

/// The result of `connect` for the first address that succeeds, or the failure of the last one.
///
/// Addresses are tried in order, each for an equal share of the remaining time, so that one that drops packets leaves
/// time for the others.
pub(crate) async fn first_address<T, F>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now).checked_div(left).unwrap_or_default();
        left = left.saturating_sub(1);
        failure = match timeout_at(after(now, share), connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(cause)) => cause,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(failure)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silent_address_leaves_time_for_the_others() {
        let address = |last| SocketAddr::from(([192, 0, 2, last], 1));
        let started = Instant::now();
        let connect = |found: SocketAddr| async move {
            if found == address(2) { Ok(found) } else { std::future::pending().await }
        };
        let deadline = after(started, Duration::from_secs(3));
        let found = first_address(vec![address(1), address(2), address(3)], deadline, connect).await;
        assert_eq!(found.expect("an address"), address(2));
        assert_eq!(started.elapsed(), Duration::from_secs(1));
        let error =
            first_address(vec![address(1), address(3)], deadline, connect).await.expect_err("silence");
        assert_eq!((error.kind(), Instant::now()), (io::ErrorKind::TimedOut, deadline));
    }
}
