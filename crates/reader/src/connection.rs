//! A connection to a broker that has told which versions it speaks.

mod error;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::address::Address;
use crate::api::{self, Api, Versions, VersionsRequest};
use crate::backoff::jitter;
use crate::error::ErrorCode;
use crate::link::{Limits, Link, Permit};
use crate::wire::WireError;

pub use error::ConnectionError;

/// A connection to one broker. Clones share it; dropping the last one closes it.
///
/// A broker may limit how long an authentication holds (KIP-368). The connection is then retired a little before: it
/// takes no new request, those without an answer get theirs (a broker ends a connection whose time is over only when a
/// further request arrives on it), and a new one takes its place. Authenticating again in place would need every pipelined
/// request to pause.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
    /// From when on it takes no new request.
    retires: Option<Instant>,
}

struct Inner {
    link: Link,
    versions: Versions,
    client_id: StrBytes,
    /// Whether the broker knows who asks, or has answered anything but its versions, which it tells everyone.
    served: AtomicBool,
}

/// A connection with the right to send one request.
pub(crate) struct Slot {
    connection: Connection,
    permit: Permit,
}

impl Connection {
    /// Asks over a fresh stream which versions the broker speaks.
    pub(crate) async fn handshake<S>(
        stream: S,
        address: Address,
        client_id: &str,
        limits: Limits,
        patience: Duration,
    ) -> Result<Self, ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let link = Link::spawn(stream, address, limits);
        let client_id = StrBytes::from_string(client_id.to_owned());
        let permit = link.reserve().await?;
        let (versions, _) =
            exchange(&link, permit, &VersionsRequest, FIRST_VERSION, &client_id, patience).await?;
        if let Some(error) = versions.error {
            return Err(protocol(link.address(), refused_versions(error)));
        }
        let inner = Inner { link, versions, client_id, served: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner), retires: None })
    }

    /// Asks which versions the broker speaks as librdkafka does: with version 3, and with 0 if the broker does not know that.
    ///
    /// # Errors
    /// There is no answer, or it is none that librdkafka can take.
    pub(crate) async fn check_versions(&self, patience: Duration) -> Result<(), ConnectionError> {
        let Inner { link, client_id, .. } = &*self.inner;
        let failed = |what| Err(protocol(link.address(), what));
        for version in [*VersionsRequest::VERSIONS.end(), FIRST_VERSION] {
            let permit = link.reserve().await?;
            let asked = exchange(link, permit, &VersionsRequest, version, client_id, patience).await?;
            match asked.0 {
                Versions { error: Some(error), .. } if error.is_unsupported_version() => {}
                Versions { error: Some(error), .. } => return failed(refused_versions(error)),
                versions if versions.is_empty() => {
                    return failed(format!("no versions at all in answer to ApiVersions {version}"));
                }
                _ => return Ok(()),
            }
        }
        failed("it knows no version of ApiVersions".to_owned())
    }

    /// Notes that the broker knows who asks, and for how long that holds.
    pub(crate) fn authenticated(&mut self, lifetime: Option<Duration>) {
        self.inner.served.store(true, Ordering::Relaxed);
        self.retires = lifetime.and_then(|lifetime| Instant::now().checked_add(used(lifetime)));
    }

    /// `host:port` of the broker.
    pub(crate) fn address(&self) -> String {
        self.inner.link.address().to_string()
    }

    /// Whether a new request may be sent, and still be answered.
    pub(crate) fn is_usable(&self) -> bool {
        self.inner.link.is_usable() && self.retires.is_none_or(|retires| Instant::now() < retires)
    }

    /// Requests without an answer.
    pub(crate) fn load(&self) -> usize {
        self.inner.link.load()
    }

    /// Since when nothing has come though something is asked; `None` where nothing is.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        self.inner.link.silent_since()
    }

    /// When something came last.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.inner.link.heard()
    }

    /// The right to send a request, if one is free.
    pub(crate) fn try_reserve(&self) -> Option<Slot> {
        let permit = self.inner.link.try_reserve()?;
        Some(Slot { connection: self.clone(), permit })
    }

    /// The right to send a request, as soon as one is free.
    pub(crate) async fn reserve(self) -> Result<Slot, ConnectionError> {
        let permit = self.inner.link.reserve().await?;
        if !self.is_usable() {
            let cause = io::Error::new(io::ErrorKind::NotConnected, "its authentication is about to expire");
            return Err(ConnectionError::Lost { address: self.address(), cause: Arc::new(cause) });
        }
        Ok(Slot { connection: self, permit })
    }

    /// Sends a request of the authentication as soon as it may, and waits for its answer.
    pub(crate) async fn ask<A: Api>(
        &self,
        request: &A,
        patience: Duration,
    ) -> Result<A::Answer, ConnectionError> {
        self.clone().reserve().await?.send(request, patience).await.map(|(answer, _)| answer)
    }
}

impl Slot {
    /// Sends a request and waits for its answer, and for how long the broker wants to be left alone after it.
    ///
    /// A broker that has sent nothing for `patience` is given up. Dropping the call leaves a connection intact that
    /// others use as well: the answer is read and dropped. A connection for one request at a time is closed.
    pub(crate) async fn call<A: Api>(
        self,
        request: &A,
        patience: Duration,
    ) -> Result<(A::Answer, Duration), ConnectionError> {
        let inner = Arc::clone(&self.connection.inner);
        match self.send(request, patience).await {
            Err(ConnectionError::Lost { address, cause }) if !inner.served.load(Ordering::Relaxed) => {
                Err(ConnectionError::Lost { address, cause: Arc::new(unserved(&cause)) })
            }
            answered @ (Ok(_) | Err(ConnectionError::Throttled { .. } | ConnectionError::TooLong { .. })) => {
                inner.served.store(true, Ordering::Relaxed);
                answered
            }
            unanswered => unanswered,
        }
    }

    async fn send<A: Api>(
        self,
        request: &A,
        patience: Duration,
    ) -> Result<(A::Answer, Duration), ConnectionError> {
        let Inner { link, versions, client_id, .. } = &*self.connection.inner;
        let version = versions.pick(request).map_err(|what| protocol(link.address(), what))?;
        exchange(link, self.permit, request, version, client_id, patience).await
    }
}

/// A broker that demands SASL tells its versions, and closes the connection when anything else is asked.
fn unserved(cause: &io::Error) -> io::Error {
    let hint = "before it answered anything but its versions: does the listener demand SASL, see `security.protocol`?";
    io::Error::new(cause.kind(), format!("{cause}, {hint}"))
}

/// How long an authentication is relied on: 85 to 95 % of the time that it holds, so that many connections which were made
/// together are not replaced together, and none is used too long.
fn used(lifetime: Duration) -> Duration {
    let percent = 85_u32.saturating_add(jitter(11));
    lifetime.checked_div(100).unwrap_or_default().saturating_mul(percent)
}

async fn exchange<A: Api>(
    link: &Link,
    permit: Permit,
    request: &A,
    version: i16,
    client_id: &StrBytes,
    patience: Duration,
) -> Result<(A::Answer, Duration), ConnectionError> {
    let id = link.next_id();
    let frame =
        api::encode(request, version, id, client_id).map_err(|what| protocol(link.address(), what))?;
    let response = link.exchange(permit, id, frame, patience).await?;
    api::decode(request, version, response).map_err(|error| match error {
        WireError::Throttled(left) => {
            ConnectionError::Throttled { address: link.address().to_string(), left }
        }
        error => protocol(link.address(), error.to_string()),
    })
}

fn refused_versions(error: ErrorCode) -> String {
    format!("{error} to the question which versions it speaks")
}

fn protocol(address: &Address, what: String) -> ConnectionError {
    ConnectionError::Protocol { address: address.to_string(), what }
}

/// The version of ApiVersions that every broker answers.
const FIRST_VERSION: i16 = 0;

#[cfg(test)]
mod tests;
