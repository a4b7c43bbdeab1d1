//! The network under connections to brokers: TCP, unless a [`Config`](crate::Config) names another one.

use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes to a broker.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens streams to brokers.
pub trait Network: fmt::Debug + Send + Sync {
    /// A stream to the broker at a host and port. The caller gives up after `socket.connection.setup.timeout.ms`.
    ///
    /// # Errors
    /// The broker does not accept it.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}
