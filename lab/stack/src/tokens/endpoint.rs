//! A token endpoint for client credentials (RFC 6749, section 4.4).

use std::convert::Infallible;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Claims, Signer};
use crate::Error;
use crate::certificates::Certificate;
use crate::port::Port;

pub struct Endpoint {
    port: Port,
    scheme: &'static str,
    _running: oneshot::Sender<()>,
}

/// The client's credentials, and whom its tokens are for.
pub struct Setup<'a> {
    pub signer: &'a Arc<Signer>,
    /// The client's id, of characters that need no form encoding.
    pub id: &'a str,
    /// The client's secret, of such characters too.
    pub secret: &'a str,
    pub subject: &'a str,
    /// The certificate of `localhost`, for TLS.
    pub certificate: Option<&'a Certificate>,
}

struct State {
    signer: Arc<Signer>,
    /// The expected header `authorization`.
    credentials: String,
    subject: String,
}

impl Endpoint {
    pub fn start(setup: Setup<'_>) -> Result<Self, Error> {
        let Setup { signer, id, secret, subject, certificate } = setup;
        let port = Port::pick()?;
        let listener = std::net::TcpListener::bind(port.address()).map_err(Error::failed("listen"))?;
        listener.set_nonblocking(true).map_err(Error::failed("listen"))?;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let tls = certificate.map(acceptor).transpose().map_err(Error::failed("use a certificate"))?;
        let state = Arc::new(State {
            signer: Arc::clone(signer),
            credentials: format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))),
            subject: subject.to_owned(),
        });
        let (running, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::failed("start a runtime"))?;
        let accept = accept(listener, tls, state);
        // Runs in its own thread: the tests that share it have separate runtimes.
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = accept => {}
                }
            });
        });
        Ok(Self { port, scheme, _running: running })
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}{PATH}", self.scheme, self.port.number())
    }
}

fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::from_pem_slice(certificate.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)?;
    Ok(Arc::new(config).into())
}

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    // A client that does not trust the certificate disconnects.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(state.answer(request).await) }
    });
    // Clients that disconnect early are ignored.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let shown = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        if request.method() != Method::POST || request.uri().path() != PATH {
            return json(StatusCode::NOT_FOUND, &json!({}));
        }
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        if !body.split(|byte| *byte == b'&').any(|pair| pair == b"grant_type=client_credentials") {
            return json(StatusCode::BAD_REQUEST, &json!({"error": "unsupported_grant_type"}));
        }
        if shown.as_deref() != Some(self.credentials.as_bytes()) {
            return json(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_client"}));
        }
        match self.signer.sign(&Claims::new(&self.subject, HOUR)) {
            Ok(token) => {
                // The expiry is rounded down to a whole second, so the token lives up to a second less.
                let seconds = HOUR.as_secs().saturating_sub(1);
                let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds});
                json(StatusCode::OK, &answer)
            }
            Err(_) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({})),
        }
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

const PATH: &str = "/token";
const HOUR: Duration = Duration::from_secs(3600);
