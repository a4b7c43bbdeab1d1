//! TLS, with and without client certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sluicegate_bridge::config::Config;
use sluicegate_stack::raw::{CLOSE, Raw, masked, request};
use sluicegate_stack::waiting::becomes;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Endpoint, Gateway, admin, ping, start, start_with, upgrade};

/// A certificate authority, and what it signed, as PEM files.
pub(crate) struct Pki {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        Self { dir, ca }
    }

    /// The paths of a certificate for `localhost` and of its key.
    pub(crate) fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let paths = (self.path(&format!("{name}.pem")), self.path(&format!("{name}-key.pem")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn connector(&self, identity: Option<(PathBuf, PathBuf)>) -> TlsConnector {
        self.connector_for(identity, &[b"h2"])
    }

    fn connector_for(&self, identity: Option<(PathBuf, PathBuf)>, protocols: &[&[u8]]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path("ca.pem"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(vec![certificate(&chain)], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

#[tokio::test]
async fn session_runs_over_tls() {
    let pki = Pki::new();
    let (certificate, key) = pki.sign("server");
    let bridge = start(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}")).await;
    let tcp = TcpStream::connect(bridge.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let gateway = Gateway::over(pki.connector(None).connect(name, tcp).await.unwrap()).await;
    let mut stream = gateway.open(Endpoint::Connect, &[]).await.unwrap();
    stream.ask(1, ping("")).await;
    assert_eq!(stream.next().await.unwrap().sequence, 1);
}

#[tokio::test]
async fn websocket_runs_over_tls() {
    let pki = Pki::new();
    let (certificate, key) = pki.sign("server");
    let ca = pki.path("ca.pem");
    let name = ServerName::try_from("localhost").unwrap();
    for (more, identity, foreign) in
        [(String::new(), None, 403), (format!("client_ca = {ca:?}"), Some(pki.sign("gateway")), 101)]
    {
        let bridge = start(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}")).await;
        for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
            let connector = pki.connector_for(identity.clone(), protocols);
            for (origin, status) in [("http://localhost", 101), ("https://example.com", foreign)] {
                let tcp = TcpStream::connect(bridge.address()).await.unwrap();
                let tls = connector.connect(name.clone(), tcp).await.unwrap();
                assert_eq!(tls.get_ref().1.alpn_protocol(), protocols.first().copied());
                let mut client = Raw::over(tls);
                let response = client.ask(&upgrade(&[("origin", origin)]).bytes()).await;
                assert_eq!(response.status, status, "{origin} {more}");
                if response.status == 101 {
                    client.write(request(1, ping(&"x".repeat(100_000)))).await;
                    assert_eq!(client.answer().await.sequence, 1);
                    client.write(masked(CLOSE, b"\x03\xe8")).await;
                    assert_eq!(client.closed().await, (1000, String::new()));
                }
            }
        }
    }
}

#[tokio::test]
async fn client_ca_admits_only_its_certificates() {
    let pki = Pki::new();
    let (certificate, key) = pki.sign("server");
    let ca = pki.path("ca.pem");
    let bridge =
        start(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca = {ca:?}")).await;
    let name = ServerName::try_from("localhost").unwrap();

    let tcp = TcpStream::connect(bridge.address()).await.unwrap();
    let connector = pki.connector(Some(pki.sign("gateway")));
    let gateway = Gateway::over(connector.connect(name.clone(), tcp).await.unwrap()).await;
    gateway.open(Endpoint::Post, &[]).await.unwrap();

    let elsewhere = Pki::new();
    for identity in [None, Some(elsewhere.sign("stranger"))] {
        let tcp = TcpStream::connect(bridge.address()).await.unwrap();
        // TLS 1.3 tells a client of its refusal only after the client's own handshake is done.
        if let Ok(io) = pki.connector(identity).connect(name.clone(), tcp).await {
            let (_http, connection) = h2::client::handshake(io).await.unwrap();
            assert!(connection.await.is_err(), "a stranger was let in");
        }
    }
}

#[tokio::test]
async fn renewed_certificates_end_no_session() {
    let (before, after) = (Pki::new(), Pki::new());
    let name = ServerName::try_from("localhost").unwrap();
    let text = |pki: &Pki| {
        let ((certificate, key), ca) = (pki.sign("server"), pki.path("ca.pem"));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca = {ca:?}")
    };
    let bridge = start(&text(&before)).await;
    let connect = async |pki: &Pki| {
        let tcp = TcpStream::connect(bridge.address()).await.unwrap();
        pki.connector(Some(pki.sign("gateway"))).connect(name.clone(), tcp).await
    };
    let gateway = Gateway::over(connect(&before).await.unwrap()).await;
    let mut session = gateway.open(Endpoint::Connect, &[]).await.unwrap();

    let clusters = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"\n";
    let config = Config::load(&format!("{clusters}{}", text(&after)), std::iter::empty()).unwrap();
    bridge.reload(Ok(config)).await;
    // The gateway's certificate is not valid any more: it may not begin anything.
    let takes_requests = async || gateway.takes_requests().await;
    becomes("the connection takes requests", false, Duration::from_secs(5), takes_requests).await;
    session.ask(1, ping("")).await;
    assert_eq!(session.next().await.unwrap().sequence, 1);
    assert!(connect(&before).await.is_err());
    let gateway = Gateway::over(connect(&after).await.unwrap()).await;
    gateway.open(Endpoint::Connect, &[]).await.unwrap();
}

/// From a secret over TCP to certificates alone, in two steps.
#[tokio::test]
async fn connection_without_a_certificate_profits_from_no_new_configuration() {
    let pki = Pki::new();
    let ((certificate, key), ca) = (pki.sign("server"), pki.path("ca.pem"));
    let secret = "gateway_secret = \"0123456789abcdef\"\n";
    let clusters = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"\n";
    let tls = format!("{clusters}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let bridge = start_with(secret, "").await;
    // Within its first request, a connection is not closed for a new certificate.
    let mut client = Raw::connect(bridge.address()).await;
    let request = upgrade(&[]).bytes();
    let (begin, end) = request.split_at(request.len() - 2);
    client.write(begin).await;
    // The bridge has read that much before it answers this.
    assert_eq!(admin(&bridge, "/livez").await.0, 200);
    for text in [format!("{secret}{tls}"), format!("{tls}client_ca = {ca:?}\n")] {
        bridge.reload(Config::load(&text, std::iter::empty())).await;
    }
    let response = client.ask(end).await;
    assert_eq!(response.status, 503, "{response:?}");
}
