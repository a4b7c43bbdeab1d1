//! A connection to a broker whose API versions are known.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use sluicegate_fair_share::Place;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::address::Address;
use crate::api::{self, Api, Versions, VersionsRequest};
use crate::backoff::jitter;
use crate::error::{ConnectionError, ErrorCode};
use crate::transport::{Limits, Permit, Transport};
use crate::wire::WireError;

/// A connection to one broker. Clones share it; dropping the last one closes it.
///
/// A broker can limit the lifetime of an authentication (KIP-368). The connection then retires a little earlier: it
/// accepts no new requests, and those in flight are still answered, because brokers close an expired connection only on
/// its next request. A new connection takes its place. Re-authentication in place would have to pause all pipelined
/// requests.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
    /// When it stops accepting requests.
    retires: Option<Instant>,
}

struct Inner {
    transport: Transport,
    versions: Versions,
    client_id: StrBytes,
    /// Whether the client is authenticated, or the broker has answered anything besides its versions, which need no
    /// authentication.
    served: AtomicBool,
}

/// A broker's answer to a request.
pub(crate) struct Answered<T> {
    pub(crate) answer: T,
    /// The time for which the broker wants no such requests.
    pub(crate) throttle_time: Duration,
    /// The time that the broker took until the answer began, without the requests before it; `None` if it is not known.
    pub(crate) took: Option<Duration>,
}

/// A connection with the right to send one request.
pub(crate) struct Slot {
    connection: Connection,
    permit: Permit,
}

impl Connection {
    /// Requests the broker's API versions over a new stream.
    pub(crate) async fn handshake<S>(
        stream: S,
        address: Address,
        client_id: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Self, ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let transport = Transport::spawn(stream, address, limits);
        let client_id = StrBytes::from_string(client_id.to_owned());
        let permit = transport.reserve().await?;
        let answered = exchange(&transport, permit, &VersionsRequest, FIRST_VERSION, &client_id, timeout);
        let versions = answered.await?.answer;
        if let Some(error) = versions.error {
            return Err(protocol(transport.address(), refused_versions(error)));
        }
        let inner = Inner { transport, versions, client_id, served: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner), retires: None })
    }

    /// Requests the broker's API versions as librdkafka does: with version 3, and with version 0 if the broker does not
    /// support 3.
    ///
    /// # Errors
    /// There is no response, or librdkafka could not handle it.
    pub(crate) async fn check_versions(&self, timeout: Duration) -> Result<(), ConnectionError> {
        let Inner { transport, client_id, .. } = &*self.inner;
        let failed = |what| Err(protocol(transport.address(), what));
        for version in [*VersionsRequest::VERSIONS.end(), FIRST_VERSION] {
            let permit = transport.reserve().await?;
            let response = exchange(transport, permit, &VersionsRequest, version, client_id, timeout).await?;
            match response.answer {
                Versions { error: Some(error), .. } if error.is_unsupported_version() => {}
                Versions { error: Some(error), .. } => return failed(refused_versions(error)),
                versions if versions.is_empty() => {
                    return failed(format!(
                        "empty list of versions in the response to ApiVersions {version}"
                    ));
                }
                _ => return Ok(()),
            }
        }
        failed("no supported version of ApiVersions".to_owned())
    }

    /// Records a successful authentication and its lifetime.
    pub(crate) fn authenticated(&mut self, lifetime: Option<Duration>) {
        self.inner.served.store(true, Ordering::Relaxed);
        self.retires = lifetime.and_then(|lifetime| Instant::now().checked_add(usable_lifetime(lifetime)));
    }

    /// `host:port` of the broker.
    pub(crate) fn address(&self) -> String {
        self.inner.transport.address().to_string()
    }

    /// Whether it accepts new requests.
    pub(crate) fn is_usable(&self) -> bool {
        self.inner.transport.is_usable() && self.retires.is_none_or(|retires| Instant::now() < retires)
    }

    /// Requests in flight.
    pub(crate) fn load(&self) -> usize {
        self.inner.transport.load()
    }

    /// The correlation id of the oldest request in flight, and since when nothing was received for it; `None` without
    /// any.
    pub(crate) fn oldest(&self) -> Option<(i32, Instant)> {
        self.inner.transport.oldest()
    }

    /// The shortest time from a request to the beginning of its response.
    pub(crate) fn shortest(&self) -> Duration {
        self.inner.transport.shortest()
    }

    /// When something was received last.
    pub(crate) fn last_received(&self) -> Option<Instant> {
        self.inner.transport.last_received()
    }

    /// The right to send a request, if one is free.
    pub(crate) fn try_reserve(&self) -> Option<Slot> {
        let permit = self.inner.transport.try_reserve()?;
        Some(Slot { connection: self.clone(), permit })
    }

    /// Waits for the right to send a request.
    pub(crate) async fn reserve(self) -> Result<Slot, ConnectionError> {
        let permit = self.inner.transport.reserve().await?;
        if !self.is_usable() {
            let cause = io::Error::new(io::ErrorKind::NotConnected, "authentication is about to expire");
            return Err(ConnectionError::Lost { address: self.address(), cause: Arc::new(cause) });
        }
        Ok(Slot { connection: self, permit })
    }

    /// Sends an authentication request and waits for its response.
    pub(crate) async fn request<A: Api>(
        &self,
        request: &A,
        timeout: Duration,
    ) -> Result<A::Answer, ConnectionError> {
        self.clone().reserve().await?.send(request, timeout).await.map(|answered| answered.answer)
    }
}

impl Slot {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The correlation id of the request.
    pub(crate) fn id(&self) -> i32 {
        self.permit.id
    }

    /// The slot, for a request that keeps `place` until its response was received, whether or not its caller waits.
    pub(crate) fn with_place(mut self, place: &Arc<Place>) -> Self {
        self.permit.place = Some(Arc::clone(place));
        self
    }

    /// Sends a request.
    ///
    /// Fails once the broker has sent nothing for `timeout`. Dropping the call leaves a shared connection intact: the
    /// response is read and dropped. A drop closes a connection for one request at a time, unless the request has
    /// a place, and so does a timeout.
    pub(crate) async fn call<A: Api>(
        self,
        request: &A,
        timeout: Duration,
    ) -> Result<Answered<A::Answer>, ConnectionError> {
        let inner = Arc::clone(&self.connection.inner);
        match self.send(request, timeout).await {
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
        timeout: Duration,
    ) -> Result<Answered<A::Answer>, ConnectionError> {
        let Inner { transport, versions, client_id, .. } = &*self.connection.inner;
        let version = versions.pick(request).map_err(|what| protocol(transport.address(), what))?;
        exchange(transport, self.permit, request, version, client_id, timeout).await
    }
}

/// A broker that requires SASL answers the request for its versions, and closes the connection on any other.
fn unserved(cause: &io::Error) -> io::Error {
    let hint = "before any response but the API versions: check whether the listener requires SASL \
                (`security.protocol`)";
    io::Error::new(cause.kind(), format!("{cause}, {hint}"))
}

/// The time for which an authentication is used: 85 to 95 % of its lifetime, so that connections opened together are
/// not replaced together.
fn usable_lifetime(lifetime: Duration) -> Duration {
    let percent = 85_u32.saturating_add(jitter(11));
    lifetime.checked_div(100).unwrap_or_default().saturating_mul(percent)
}

async fn exchange<A: Api>(
    transport: &Transport,
    permit: Permit,
    request: &A,
    version: i16,
    client_id: &StrBytes,
    timeout: Duration,
) -> Result<Answered<A::Answer>, ConnectionError> {
    let frame = api::encode(request, version, permit.id, client_id)
        .map_err(|what| protocol(transport.address(), what))?;
    let (response, took) = transport.exchange(permit, frame, timeout).await?;
    match api::decode(request, version, response) {
        Ok((answer, throttle_time)) => Ok(Answered { answer, throttle_time, took: Some(took) }),
        Err(WireError::Throttled(left)) => {
            Err(ConnectionError::Throttled { address: transport.address().to_string(), left })
        }
        Err(error) => Err(protocol(transport.address(), error.to_string())),
    }
}

fn refused_versions(error: ErrorCode) -> String {
    format!("{error} in response to ApiVersions")
}

fn protocol(address: &Address, what: String) -> ConnectionError {
    ConnectionError::Protocol { address: address.to_string(), what }
}

/// The version of ApiVersions that every broker supports.
const FIRST_VERSION: i16 = 0;

#[cfg(test)]
pub(crate) mod tests;
