//! The connection beneath a session or an HTTP request: TCP, with TLS if the URL asks for it.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::Uri;
use tracing::debug;

use crate::{Builder, ConnectError};

pub(crate) type Stream = Box<dyn Connection>;

/// An open connection.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// Connects to the host of `uri`, which has one.
pub(crate) async fn connect(builder: &Builder, uri: &Uri) -> Result<Stream, ConnectError> {
    #[cfg(feature = "testing")]
    if let Some(dial) = &builder.dial {
        return Ok(Box::new(dial().map_err(|why| builder.unreachable(why))?));
    }
    let secure = matches!(uri.scheme_str(), Some("wss" | "https"));
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    // Brackets mark an IPv6 address in a URL only.
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let start = Instant::now();
    debug!("connecting to {host} port {port}");
    let stream = TcpStream::connect((host, port)).await.map_err(|why| builder.unreachable(why))?;
    // A request is a single small segment, and its answer is waited for.
    stream.set_nodelay(true).map_err(|why| builder.unreachable(why))?;
    let peer = stream.peer_addr().map_or_else(|_| host.to_owned(), |peer| peer.to_string());
    debug!("connected to {peer} in {:?}", start.elapsed());
    if secure { wrap(builder, host, stream).await } else { Ok(Box::new(stream)) }
}

#[cfg(feature = "tls")]
async fn wrap(builder: &Builder, host: &str, stream: TcpStream) -> Result<Stream, ConnectError> {
    use rustls::pki_types::ServerName;

    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        builder.unreachable(std::io::Error::other(format!("no certificate can name {host:?}")))
    })?;
    let tls = match &builder.tls {
        Some(tls) => tls.clone(),
        None => crate::Tls::new(None, None)?,
    };
    let start = Instant::now();
    let connector = tokio_rustls::TlsConnector::from(tls.config);
    let stream = connector.connect(name, stream).await.map_err(|why| builder.unreachable(why))?;
    let (_, session) = stream.get_ref();
    debug!(
        "TLS established in {:?}: {:?}, {:?}, certificate of {host} verified",
        start.elapsed(),
        session.protocol_version(),
        session.negotiated_cipher_suite().map(|suite| suite.suite()),
    );
    Ok(Box::new(stream))
}

#[cfg(not(feature = "tls"))]
async fn wrap(builder: &Builder, _: &str, _: TcpStream) -> Result<Stream, ConnectError> {
    Err(builder.misused("sluicegate-client was built without its feature `tls`"))
}
