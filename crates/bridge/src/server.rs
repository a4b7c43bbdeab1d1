//! Connections of gateways: TCP, TLS if configured, and HTTP/2 or HTTP/1.1 as their first bytes say ([`version`]).

mod idle_connections;
mod version;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::idle_connections::IdleConnections;
use self::version::Version;
use crate::config::{Config, Tls};
use crate::endpoint::{Endpoint, Peer};
use crate::executor::StreamExecutor;
use crate::limit::Limit;

/// Accepts connections and serves requests on them.
pub(crate) struct Server {
    endpoint: Arc<Endpoint>,
    settings: ArcSwap<Settings>,
    /// `limits.max_connections`.
    permits: Limit,
    idle: Arc<IdleConnections>,
    open: Connections,
}

/// Settings that a new configuration replaces for the connections that are accepted after it.
struct Settings {
    http1: http1::Builder,
    http2: http2::Builder<StreamExecutor>,
    tls: Option<Tls>,
    /// Connections whose peer acknowledges no data for this long are closed.
    unacknowledged_timeout: Duration,
    tls_change: Arc<TlsChange>,
}

/// When the TLS of the connections that were accepted with it was replaced.
struct TlsChange {
    /// Cancelled to close them: see [`Connections::close`].
    close: CancellationToken,
    /// From then on they take no more requests: see [`GRACE`].
    at: OnceLock<Instant>,
}

/// The connection of a request in HTTP/2: gone once it is closed. In HTTP/1.1, an end is no sign of trouble.
#[derive(Debug, Clone)]
pub(crate) struct OpenConnection(pub(crate) Weak<()>);

/// A server's connections, so that they can be closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    /// One task for each open connection.
    pub(crate) tasks: TaskTracker,
    /// Cancelled to close each connection after its requests in flight: in HTTP/2, with GOAWAY.
    pub(crate) close: CancellationToken,
}

impl Server {
    pub(crate) fn new(endpoint: Arc<Endpoint>, config: &Config, open: Connections) -> Self {
        Self {
            endpoint,
            settings: ArcSwap::from_pointee(Settings::of(config, TlsChange::new(&open))),
            permits: Limit::new(config.limits.max_connections),
            idle: Arc::default(),
            open,
        }
    }

    /// Takes up a new configuration. If TLS differs, connections are closed after their requests in flight, in HTTP/2
    /// with GOAWAY: open sessions continue, and new requests need a connection with the new certificates. A peer that
    /// goes on using an earlier connection is refused, after a moment for requests on their way, and by the endpoint at
    /// once if gateways now have to present a certificate.
    pub(crate) fn apply(&self, config: &Config) {
        self.permits.set(config.limits.max_connections);
        let earlier = self.settings.load_full();
        let version = |tls: &Option<Tls>| tls.as_ref().map(|tls| tls.version);
        let is_same = version(&earlier.tls) == version(&config.tls);
        let change = if is_same { Arc::clone(&earlier.tls_change) } else { TlsChange::new(&self.open) };
        self.settings.store(Arc::new(Settings::of(config, change)));
        if !is_same {
            earlier.tls_change.at.get_or_init(|| Instant::now() + GRACE);
            earlier.tls_change.close.cancel();
        }
    }

    /// Accepts connections until dropped. At `limits.max_connections`, a new connection waits for another one to close,
    /// and the longest idle ones are closed for it.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut full_logged: Option<Instant> = None;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %error, event = "accept_failed", "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(permit) = self.permit(&mut full_logged).await else { return };
            let server = Arc::clone(&self);
            self.open.tasks.spawn(async move {
                if let Err(error) = server.connection(stream, peer).await {
                    tracing::debug!(%peer, error = %error, event = "gateway_connection_failed", "connection failed");
                }
                drop(permit);
            });
        }
    }

    /// The permit for one more connection. None only if the semaphore is closed, which never happens.
    async fn permit(&self, full_logged: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Some(permit) = self.permits.try_acquire() {
                return Some(permit);
            }
            self.idle.close_longest();
            match timeout(CLOSE_PAUSE, self.permits.acquire()).await {
                Ok(permit) => return permit,
                Err(_) if full_logged.is_some_and(|logged| logged.elapsed() < FULL_PAUSE) => {}
                Err(_) => {
                    tracing::warn!(
                        event = "connection_limit_reached",
                        "connection limit reached (limits.max_connections = {}) and none is idle, new connections wait",
                        self.permits.max()
                    );
                    *full_logged = Some(Instant::now());
                }
            }
        }
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let settings = self.settings.load_full();
        stream.set_nodelay(true)?;
        // A peer that is gone or reads nothing would hold its permit for ever.
        #[cfg(target_os = "linux")]
        {
            let millis = settings.unacknowledged_timeout.as_millis();
            set_tcp_user_timeout(&stream, u32::try_from(millis).unwrap_or(u32::MAX))?;
        }
        match &settings.tls {
            Some(tls) => {
                let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
                let Some(stream) = settings.hello(acceptor.accept(stream)).await? else { return Ok(()) };
                self.serve(stream, peer, &settings).await
            }
            None => self.serve(stream, peer, &settings).await,
        }
    }

    /// Serves a connection that is no socket. The test that breaks it knows why it fails.
    #[cfg(feature = "testing")]
    pub(crate) async fn stream(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) {
        let _ = self.serve(io, peer, &self.settings.load_full()).await;
    }

    /// Serves a connection until it is closed, or a session takes it over.
    async fn serve(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
        settings: &Settings,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some((version, io)) = settings.hello(version::detect(io)).await? else { return Ok(()) };
        let io = TokioIo::new(io);
        let (endpoint, change) = (Arc::clone(&self.endpoint), Arc::clone(&settings.tls_change));
        let peer = Peer { address, has_certificate: settings.tls.as_ref().is_some_and(|tls| tls.mutual) };
        let open = Arc::new(());
        let connection = matches!(version, Version::Http2).then(|| OpenConnection(Arc::downgrade(&open)));
        let respond = move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(connection) = &connection {
                request.extensions_mut().insert(connection.clone());
            }
            let (endpoint, is_over) = (Arc::clone(&endpoint), change.is_over());
            // Boxed: a stream's task keeps the size of this future for as long as the stream lives.
            Box::pin(async move {
                match is_over {
                    false => endpoint.handle(request).await,
                    true => endpoint.refuse_outdated(&request),
                }
            })
        };
        match version {
            Version::Http1 => {
                let tracked = self.idle.track(settings.tls_change.close.child_token());
                let close = tracked.close.clone();
                let service = service_fn(move |request| {
                    let busy = tracked.busy();
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response.await.map(|body| busy.until_end_of(body))) }
                });
                let connection = settings.http1.serve_connection(io, service).with_upgrades();
                run(connection, &close, http1::UpgradeableConnection::graceful_shutdown).await?;
            }
            Version::Http2 => {
                let service = service_fn(move |request| {
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response.await) }
                });
                let connection = settings.http2.serve_connection(io, service);
                run(connection, &settings.tls_change.close, http2::Connection::graceful_shutdown).await?;
            }
        }
        Ok(())
    }
}

impl Settings {
    fn of(config: &Config, tls_change: Arc<TlsChange>) -> Self {
        let limits = &config.limits;
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
            // RFC 8441, section 3: "a server MUST NOT [receive :protocol unless it sent]
            // SETTINGS_ENABLE_CONNECT_PROTOCOL".
            .enable_connect_protocol()
            .initial_stream_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(limits.connection_window_bytes)
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(limits.max_header_bytes)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MAX_RESETS_BEFORE_ACCEPT)
            // A gateway's clients share its connection: the errors of one must never close it for the others.
            .max_local_error_reset_streams(None)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let unacknowledged_timeout = config.session.ping_interval * UNACKNOWLEDGED_INTERVALS;
        Self { http1, http2, tls: config.tls.clone(), unacknowledged_timeout, tls_change }
    }

    /// A step before the first request, in bounded time: a peer that sends nothing is disconnected. None if the server
    /// closes meanwhile.
    async fn hello<T>(
        &self,
        step: impl Future<Output = io::Result<T>>,
    ) -> Result<Option<T>, Box<dyn std::error::Error + Send + Sync>> {
        match self.tls_change.close.run_until_cancelled(timeout(HELLO_TIMEOUT, step)).await {
            Some(done) => Ok(Some(done??)),
            None => Ok(None),
        }
    }
}

impl TlsChange {
    fn new(open: &Connections) -> Arc<Self> {
        Arc::new(Self { close: open.close.child_token(), at: OnceLock::new() })
    }

    fn is_over(&self) -> bool {
        self.at.get().is_some_and(|at| Instant::now() >= *at)
    }
}

/// Serves a connection until it is closed, or a session takes it over. `close` closes it after its requests in flight.
async fn run<C>(
    connection: C,
    close: &CancellationToken,
    shut_down: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        served = after_others(connection.as_mut()) => served,
        () = close.cancelled() => {
            shut_down(connection.as_mut());
            connection.await
        }
    }
}

/// Polls a connection only after the other tasks that are ready, so that one write carries what many streams have to
/// send.
///
/// Otherwise the runtime polls it as soon as its first stream has something to send, and a record for a thousand
/// streams leaves in a thousand writes.
async fn after_others<C: Future>(mut connection: Pin<&mut C>) -> C::Output {
    let mut is_turn = true;
    poll_fn(|cx| {
        is_turn = !is_turn;
        if is_turn {
            return connection.as_mut().poll(cx);
        }
        // Wakes this task again, behind the others.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    })
    .await
}

/// Streams that a gateway can reset before they are accepted, for clients that leave at once. The HTTP/2 library's
/// default of 20 suits connections of a single client. Memory: the headers of each until it is accepted.
const MAX_RESETS_BEFORE_ACCEPT: usize = 100_000;
/// Bytes that HTTP/2 buffers for one stream beyond its peer's window.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// A connection silent for this long is pinged, and closed if the answer takes as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// For the TLS handshake, and for the first bytes, which show the HTTP version.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// For the headers of an HTTP/1.1 request, and for the next request to begin. Longer than gateways keep an unused
/// connection (nginx: 60 s): otherwise they would send requests on one that is being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Ping intervals until a connection is closed for unacknowledged data. One more than a session waits for its client,
/// so that the session ends first and records its own reason.
const UNACKNOWLEDGED_INTERVALS: u32 = 4;
/// Headers of an HTTP/1.1 request: far more than gateways forward and add. Their size has its own bound.
const MAX_HTTP1_HEADERS: usize = 1000;
/// The minimum that hyper accepts.
const MIN_HTTP1_BUFFER: usize = 8 * 1024;
/// Time between two log lines about the connection limit.
const FULL_PAUSE: Duration = Duration::from_secs(60);
/// The time to wait for an idle connection to close before the next one is closed.
const CLOSE_PAUSE: Duration = Duration::from_millis(100);
/// After a failed accept: usually, the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time for which requests are served on a connection whose TLS was replaced: they can have been on their way.
const GRACE: Duration = Duration::from_secs(5);
