//! Gateways' connections: TCP, TLS where configured, HTTP/2 or HTTP/1.1 by their first bytes ([`version`]).

mod idle;
mod version;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::idle::Idle;
use self::version::Version;
use crate::config::{self, Tls};
use crate::endpoint::{Endpoint, Peer};
use crate::executor::StreamExecutor;

/// Accepts connections and serves requests on them.
pub(crate) struct Server {
    endpoint: Arc<Endpoint>,
    http1: http1::Builder,
    http2: http2::Builder<StreamExecutor>,
    tls: Option<TlsAcceptor>,
    /// How long a peer may not take what it is sent.
    patience: Duration,
    free: Arc<Semaphore>,
    idle: Arc<Idle>,
    open: Connections,
}

/// The connections of a server, for whoever stops it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    /// Those that are not closed.
    pub(crate) tasks: TaskTracker,
    /// Cancelled to end each with its last request: over HTTP/2, by GOAWAY.
    pub(crate) close: CancellationToken,
}

impl Server {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        limits: &config::Limits,
        tls: Option<&Tls>,
        open: Connections,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        let max_header_bytes = usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX);
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HTTP1_HEADERS)
            .max_buf_size(max_header_bytes.max(MIN_HTTP1_BUFFER));
        let mut http2 = http2::Builder::new(StreamExecutor);
        http2
            .timer(TokioTimer::new())
            // RFC 8441, section 3: "a server MUST NOT [receive :protocol unless it sent] SETTINGS_ENABLE_CONNECT_PROTOCOL".
            .enable_connect_protocol()
            .initial_stream_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(limits.connection_window_bytes)
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(limits.max_header_bytes)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MAX_RESETS_BEFORE_ACCEPT)
            // A gateway's clients share its connection: what one of them gets wrong must not end it for the others, however
            // long it lives.
            .max_local_error_reset_streams(None)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let patience = endpoint.limits.ping_interval * PATIENCE_INTERVALS;
        Self {
            endpoint,
            http1,
            http2,
            tls: tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.server))),
            patience,
            free: Arc::new(Semaphore::new(limits.max_connections)),
            idle: Arc::default(),
            open,
        }
    }

    /// Accepts until dropped. While as many connections are open as are allowed, others wait for one of them to close: of those
    /// that are idle, the longest idle are closed for it.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut said_full: Option<Instant> = None;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.place(&mut said_full).await else { return };
            let server = Arc::clone(&self);
            self.open.tasks.spawn(async move {
                if let Err(error) = server.connection(stream, peer).await {
                    tracing::debug!(%peer, error = %error, "connection failed");
                }
                drop(place);
            });
        }
    }

    /// A place for one more connection; None once there are no more places, which never comes.
    async fn place(&self, said_full: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
        loop {
            let place = Arc::clone(&self.free).acquire_owned();
            if self.free.available_permits() > 0 {
                return place.await.ok();
            }
            self.idle.close_longest();
            match timeout(CLOSE_PAUSE, place).await {
                Ok(place) => return place.ok(),
                Err(_) if said_full.is_some_and(|said| said.elapsed() < FULL_PAUSE) => {}
                Err(_) => {
                    tracing::warn!(
                        "as many connections are open as limits.max_connections allows, and none is idle: more wait for one to \
                         close"
                    );
                    *said_full = Some(Instant::now());
                }
            }
        }
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        // One that takes nothing, or is no longer there, would keep its place among the connections.
        #[cfg(target_os = "linux")]
        set_tcp_user_timeout(&stream, u32::try_from(self.patience.as_millis()).unwrap_or(u32::MAX))?;
        match &self.tls {
            Some(tls) => {
                let stream = timeout(HELLO_TIMEOUT, tls.accept(stream)).await??;
                self.serve(stream, peer).await
            }
            None => self.serve(stream, peer).await,
        }
    }

    /// Until the connection is closed, or has become a session's.
    async fn serve(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Whoever connects and says nothing gets no further.
        let (version, io) = timeout(HELLO_TIMEOUT, version::detect(io)).await??;
        let io = TokioIo::new(io);
        let endpoint = Arc::clone(&self.endpoint);
        let respond = move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            Arc::clone(&endpoint).handle(request)
        };
        match version {
            Version::Http1 => {
                let kept = self.idle.connection(self.open.close.child_token());
                let close = kept.close.clone();
                let service = service_fn(move |request| {
                    let busy = kept.busy();
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response.await.map(|body| busy.until_end_of(body))) }
                });
                let connection = self.http1.serve_connection(io, service).with_upgrades();
                run(connection, &close, http1::UpgradeableConnection::graceful_shutdown).await?;
            }
            Version::Http2 => {
                let service = service_fn(move |request| {
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response.await) }
                });
                let connection = self.http2.serve_connection(io, service);
                run(connection, &self.open.close, http2::Connection::graceful_shutdown).await?;
            }
        }
        Ok(())
    }
}

/// Serves a connection until it is closed, or has become a session's. `close` ends it with the requests that it carries.
async fn run<C>(
    connection: C,
    close: &CancellationToken,
    shut_down: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => served,
        () = close.cancelled() => {
            shut_down(connection.as_mut());
            connection.await
        }
    }
}

/// Streams that a gateway gave up before they were looked at: clients that leave as they come. HTTP/2's default of 20 is for
/// connections that are one client's. Each costs its headers until it is looked at.
const MAX_RESETS_BEFORE_ACCEPT: usize = 100_000;
/// What HTTP/2 buffers for one stream beyond what its peer takes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// A connection that is silent this long is asked whether it is alive, and closed when it does not answer as long.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// For TLS's handshake, and for the bytes that tell the version.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// For the headers of an HTTP/1.1 request, and for the next request to begin: longer than gateways keep an unused connection
/// (nginx: 60 s), or they would send requests into one that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Pings' intervals: one more than a session has patience with its client, so that a session can say itself why it ended.
const PATIENCE_INTERVALS: u32 = 4;
/// Headers of an HTTP/1.1 request: far more than gateways let pass, whatever they add themselves. Their size has its own bound.
const MAX_HTTP1_HEADERS: usize = 1000;
/// The least that hyper takes.
const MIN_HTTP1_BUFFER: usize = 8 * 1024;
/// How often it is said that all connections are taken.
const FULL_PAUSE: Duration = Duration::from_secs(60);
/// How long a connection that is being closed has before the next one is.
const CLOSE_PAUSE: Duration = Duration::from_millis(100);
/// After a failed accept: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `address`.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("bind {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}
