//! A connection to a broker that has told which versions it speaks.

mod error;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::Address;
use crate::api::{self, Api, Versions, VersionsRequest};
use crate::link::{Limits, Link, Permit};

pub use error::ConnectionError;

/// A connection to one broker. Clones share it; dropping the last one closes it.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    versions: Versions,
    client_id: StrBytes,
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
        let versions = call(&link, permit, &VersionsRequest, FIRST_VERSION, &client_id, patience).await?;
        if let Some(error) = versions.error {
            return Err(protocol(
                link.address(),
                format!("{error} to the question which versions it speaks"),
            ));
        }
        Ok(Self { inner: Arc::new(Inner { link, versions, client_id }) })
    }

    /// Whether a request may still be answered.
    pub(crate) fn is_usable(&self) -> bool {
        self.inner.link.is_usable()
    }

    /// Requests without an answer.
    pub(crate) fn load(&self) -> usize {
        self.inner.link.load()
    }

    /// The right to send a request, if one is free.
    pub(crate) fn try_reserve(&self) -> Option<Slot> {
        let permit = self.inner.link.try_reserve()?;
        Some(Slot { connection: self.clone(), permit })
    }

    /// The right to send a request, as soon as one is free.
    pub(crate) async fn reserve(self) -> Result<Slot, ConnectionError> {
        let permit = self.inner.link.reserve().await?;
        Ok(Slot { connection: self, permit })
    }
}

impl Slot {
    /// Sends a request and waits for its answer.
    ///
    /// A broker that has not answered after `patience` is given up. Dropping the call leaves a connection intact that
    /// others use as well: the answer is read and dropped. A connection for one request at a time is closed.
    pub(crate) async fn call<A: Api>(
        self,
        request: &A,
        patience: Duration,
    ) -> Result<A::Answer, ConnectionError> {
        let Inner { link, versions, client_id } = &*self.connection.inner;
        let version = versions.pick::<A>().map_err(|what| protocol(link.address(), what))?;
        call(link, self.permit, request, version, client_id, patience).await
    }
}

async fn call<A: Api>(
    link: &Link,
    permit: Permit,
    request: &A,
    version: i16,
    client_id: &StrBytes,
    patience: Duration,
) -> Result<A::Answer, ConnectionError> {
    let id = link.next_id();
    let frame =
        api::encode(request, version, id, client_id).map_err(|what| protocol(link.address(), what))?;
    let response = link.exchange(permit, id, frame, patience).await?;
    api::decode(request, version, response).map_err(|error| protocol(link.address(), error.to_string()))
}

fn protocol(address: &Address, what: String) -> ConnectionError {
    ConnectionError::Protocol { address: address.to_string(), what }
}

/// The version of ApiVersions that every broker answers.
const FIRST_VERSION: i16 = 0;
